"""How test rows are cut into slices by a column: by what its values are kept as, not by its type's name.

    few-valued text     each value                    times     periods, days of the week, hours
    lists of such       each value that they hold
    everything else     each signal of the column type (the number, a text's length), in bins of rows
    all                 missing or not

Decided here: bins are quartiles of the rows; a signal with few different values gives one slice each; a
time's period is the largest unit with at least four of them; at most 50 values a column, the most
frequent; a column of people's numbers or addresses is cut by only where it is named. Knows no figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from luban.catalog import FEATURES
from luban.data.schema import Column, Schema
from luban.features.base import Feature
from luban.policy.personal import KINDS, is_wholly

Read = Callable[[str], Iterable[pa.Array]]
"""A column's parsed values by its name, as arrays in row order."""
MAX_VALUES = 50
FEW = 8
NUM_BINS = 4
LOOKED_AT = 100
"""Values that tell whether a column is personal."""
HOURS = ("00–06", "06–12", "12–18", "18–24")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, eq=False)
class Cut:
    """Rows [n] int64 (positions) that share something of a column."""

    column: str
    by: str
    label: str
    rows: np.ndarray


def columns_of(schema: Schema, wanted: Sequence[str] | None, read: Read) -> tuple[Column, ...]:
    """The columns to cut by: those named, else inputs, times and what is carried along, if not personal.

    Raises DataError.
    """
    if wanted is not None:
        return tuple(schema[name] for name in wanted)
    return tuple(column for column in schema.of_role("input", "time", "meta") if not _is_personal(column, read))


def _is_personal(column: Column, read: Read) -> bool:
    """Whether most values are a telephone number or the like, and nothing else: as groups they would be shown."""
    looked: list[str] = []
    for piece in read(column.name):
        values = piece.drop_null()[: LOOKED_AT - len(looked)].to_pylist()
        looked += [f"{value:.15g}" if isinstance(value, float) else str(value) for value in values]
        if len(looked) == LOOKED_AT:
            break
    found = sum(any(is_wholly(text, kind) for kind in KINDS) for text in looked)
    return 2 * found > len(looked)


def cuts(columns: Iterable[Column], read: Read) -> Iterator[Cut]:
    """Every slice of every column; a slice may have few rows, or all."""
    for column in columns:
        feature: Feature = FEATURES.make(column.type, column.settings)
        pieces = list(read(column.name))
        values = pa.chunked_array(pieces, feature.storage if not pieces else pieces[0].type)
        missing = values.is_null().to_numpy().astype(bool)
        if missing.any() and not missing.all():
            yield Cut(column.name, "missing", "missing", np.flatnonzero(missing))
            yield Cut(column.name, "missing", "present", np.flatnonzero(~missing))
        if pa.types.is_timestamp(feature.storage):
            yield from _times(column.name, values)
        elif pa.types.is_string(feature.storage) and not feature.free_form:
            yield from _values(column.name, values)
        elif is_list_of_strings(feature.storage):
            yield from _members(column.name, values)
        else:
            yield from _signals(column.name, feature, pieces)


def _values(column: str, values: pa.ChunkedArray) -> Iterator[Cut]:
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([], pa.string()).dictionary_encode()
    codes = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy(zero_copy_only=False)
    yield from _coded(column, "value", codes, encoded.dictionary.to_pylist())


def is_list_of_strings(storage: pa.DataType) -> bool:
    """Whether a value is a list of strings."""
    return bool(pa.types.is_list(storage) and pa.types.is_string(storage.value_type))


def _members(column: str, values: pa.ChunkedArray) -> Iterator[Cut]:
    """A slice for each string that lists hold; a row may be in several."""
    combined = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    rows = pc.list_parent_indices(combined).to_numpy(zero_copy_only=False).astype(np.int64)
    members = pc.list_flatten(combined).dictionary_encode()
    codes = pc.fill_null(members.indices, len(members.dictionary)).to_numpy(zero_copy_only=False)
    for cut in _coded(column, "value", codes, members.dictionary.to_pylist()):
        yield Cut(column, "value", cut.label, np.unique(rows[cut.rows]))


def _coded(column: str, by: str, codes: np.ndarray, labels: Sequence[str]) -> Iterator[Cut]:
    """A slice for each of the most frequent codes [B]; codes from len(labels) on are missing."""
    counts = np.bincount(codes, minlength=len(labels))[: len(labels)]
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)])
    for code in sorted(range(len(labels)), key=lambda number: (-counts[number], labels[number]))[:MAX_VALUES]:
        if counts[code]:
            yield Cut(column, by, labels[code], order[starts[code] : starts[code + 1]])


def _signals(column: str, feature: Feature, pieces: Sequence[pa.Array]) -> Iterator[Cut]:
    found: dict[str, list[np.ndarray]] = {}
    for piece in pieces:
        for name, signal in feature.signals(piece.to_pylist()).items():
            found.setdefault(name, []).append(signal)
    for name, parts in found.items():
        yield from _figures(column, name, np.concatenate(parts))


def _figures(column: str, by: str, signal: np.ndarray) -> Iterator[Cut]:
    """Slices of one figure [B], NaN where missing."""
    present = np.flatnonzero(np.isfinite(signal))
    known = signal[present]
    if not len(known):
        return
    distinct = np.unique(known[:: max(1, len(known) // 10_000)])
    if len(distinct) <= FEW and np.isin(known, distinct).all():
        for value in distinct.tolist():
            yield Cut(column, by, _plain(value), present[known == value])
        return
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, known, side="left")
    for number in range(len(edges) + 1):
        low = _plain(edges[number - 1]) if number else ""
        high = _plain(edges[number]) if number < len(edges) else ""
        label = f"{low} – {high}" if low and high else f"≤ {high}" if high else f"> {low}"
        yield Cut(column, by, label, present[bins == number])


def _plain(value: float) -> str:
    """Four digits, and no power of ten for large numbers.

    >>> _plain(0.12345), _plain(13_874_321_000.0), _plain(1e-7)
    ('0.1235', '13,870,000,000', '1e-07')
    """
    said = f"{value:.4g}"
    return f"{float(said):,.0f}" if "e+" in said else said


def _times(column: str, values: pa.ChunkedArray) -> Iterator[Cut]:
    micros = pc.fill_null(values.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), 0).to_numpy()
    present = np.flatnonzero(values.is_valid().to_numpy().astype(bool))
    if not len(present):
        return
    moments = micros[present].astype("M8[us]")
    periods, labels = _periods(moments)
    for cut in _coded(column, "period", periods, labels):
        yield Cut(column, "period", cut.label, present[cut.rows])
    days = moments.astype("M8[D]")
    for cut in _coded(column, "weekday", (days.astype(np.int64) + 3) % 7, WEEKDAYS):
        yield Cut(column, "weekday", cut.label, present[cut.rows])
    hours = ((moments - days).astype("m8[h]").astype(np.int64)) // 6
    if hours.any():
        for cut in _coded(column, "hour", hours, HOURS):
            yield Cut(column, "hour", cut.label, present[cut.rows])


def _periods(moments: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Codes [B] and labels of the largest unit with four periods or more, else of days."""
    months, days = (moments.astype(f"M8[{unit}]").astype(np.int64) for unit in "MD")
    found: tuple[np.ndarray, list[str]] = np.zeros(len(moments), np.int64), []
    for unit in ("Y", "Q", "M", "W", "D"):
        numbers = {"Y": months // 12, "Q": months // 3, "M": months, "W": (days + 3) // 7, "D": days}[unit]
        distinct, codes = np.unique(numbers, return_inverse=True)
        found = codes.reshape(-1), [_period(unit, number) for number in distinct.tolist()]
        if len(distinct) >= 4:
            break
    return found


def _period(unit: str, number: int) -> str:
    if unit == "Y":
        return str(1970 + number)
    if unit == "Q":
        return f"{1970 + number // 4} Q{number % 4 + 1}"
    if unit == "M":
        return str(np.datetime64(number, "M"))
    day = np.datetime64(number * 7 - 3 if unit == "W" else number, "D")  # weeks begin on Mondays
    return f"week of {day}" if unit == "W" else str(day)
