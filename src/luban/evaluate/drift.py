"""Drift: how the inputs of other rows differ from those of the rows that a model was tested on.

Sources: two samples: Kolmogorov and Smirnov; values of few: the chi-squared test; how far: the population stability
index, whose usual marks are .1 and .25 (Siddiqi, "Credit Risk Scorecards", 2006); correction for looking at many:
Benjamini and Hochberg 1995. Decided here: figures are the signals of each column's type, so that drift of a text is
that of its length and script, not of its meaning; at most 100,000 evenly spaced rows of each side are compared.
Knows no column type by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from luban.catalog import FEATURES, need
from luban.data.schema import Column
from luban.evaluate.cutting import Read, is_list_of_strings
from luban.evaluate.intervals import false_discovery
from luban.evaluate.records import DECIMALS, Record
from luban.features.base import Feature

MAX_ROWS = 100_000
NUM_BINS = 10
MAX_VALUES = 50
SOME, LARGE = 0.1, 0.25
RATE = 0.05


class Drift(Record):
    """How one figure of one column moved."""

    column: str
    by: str
    """`value`, `missing`, or one of the column's signals."""
    test: str
    """`kolmogorov-smirnov` or `chi-squared`."""
    stability: float
    """Population stability index: 0 where nothing moved."""
    p_value: float | None
    q_value: float | None
    verdict: Literal["none", "some", "large"]
    """By stability (.1, .25), but never more than chance allows (q above .05: none)."""
    before: float | None
    after: float | None
    """Median of the figure, or the share that is missing; null for values."""
    new_values: float | None
    """Share of values that did not occur before; null for figures."""


@dataclass(frozen=True)
class _Moved:
    """A drift before correction."""

    column: str
    by: str
    test: str
    stability: float
    p_value: float | None
    before: float | None = None
    after: float | None = None
    new_values: float | None = None


def drift(columns: Iterable[Column], before: Read, after: Read) -> tuple[Drift, ...]:
    """Every figure of every column, the least stable first."""
    moved = [found for column in columns for found in _column(column, before, after)]
    tested = [number for number, one in enumerate(moved) if one.p_value is not None]
    corrected = false_discovery(np.array([moved[number].p_value for number in tested], np.float64)).tolist()
    q_values = dict(zip(tested, corrected, strict=True))
    listed = [_told(one, q_values.get(number)) for number, one in enumerate(moved)]
    return tuple(sorted(listed, key=lambda one: (-one.stability, one.column, one.by)))


def _column(column: Column, before: Read, after: Read) -> Iterator[_Moved]:
    feature: Feature = FEATURES.make(column.type, column.settings)
    sides = tuple(_spaced(read(column.name)) for read in (before, after))
    if not all(len(side) for side in sides):
        return
    yield from _missing(column.name, *([value is None for value in side] for side in sides))
    if pa.types.is_string(feature.storage) and not feature.free_form:
        yield from _values(column.name, *([value for value in side if value is not None] for side in sides))
        return
    if is_list_of_strings(feature.storage):
        yield from _values(
            column.name, *([one for value in side if value is not None for one in value] for side in sides)
        )
        return
    first, second = (feature.signals(side) for side in sides)
    for name in first:
        yield from _figures(column.name, name, *(side[np.isfinite(side)] for side in (first[name], second[name])))


def _spaced(pieces: Iterable[pa.Array]) -> list[Any]:
    """At most MAX_ROWS values, evenly spaced."""
    arrays = list(pieces)
    total = sum(len(piece) for piece in arrays)
    if not total:
        return []
    column = pa.chunked_array(arrays)
    if total > MAX_ROWS:
        column = column.take(pa.array(np.linspace(0, total - 1, MAX_ROWS).astype(np.int64)))
    found: list[Any] = column.to_pylist()
    return found


def _missing(column: str, before: Sequence[bool], after: Sequence[bool]) -> Iterator[_Moved]:
    counts = np.array([[sum(side), len(side) - sum(side)] for side in (before, after)], np.float64)
    if not counts[:, 0].any():
        return
    shares = counts[:, 0] / counts.sum(axis=1)
    yield _Moved(column, "missing", "chi-squared", _stability(*counts), _chi_squared(counts), *map(float, shares))


def _values(column: str, before: Sequence[str], after: Sequence[str]) -> Iterator[_Moved]:
    if not before or not after:
        return
    known, first = np.unique(before, return_counts=True)
    kept = known[np.argsort(-first, kind="stable")[:MAX_VALUES]]
    counts = np.array([_counted(side, kept) for side in (before, after)])
    new = 1 - float(np.isin(np.array(after), known).mean())
    yield _Moved(column, "value", "chi-squared", _stability(*counts), _chi_squared(counts), new_values=new)


def _counted(values: Sequence[str], kept: np.ndarray) -> np.ndarray:
    """Rows [K + 1] of each kept value, and of all others."""
    places = {value: number for number, value in enumerate(kept.tolist())}
    numbers = [places.get(value, len(places)) for value in values]
    return np.bincount(numbers, minlength=len(places) + 1).astype(np.float64)


def _figures(column: str, by: str, before: np.ndarray, after: np.ndarray) -> Iterator[_Moved]:
    if not len(before) or not len(after):
        return
    edges = np.unique(np.quantile(before, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    counts = [_binned(edges, side) for side in (before, after)]
    tested = need("scipy.stats", "train").ks_2samp(before, after, method="asymp")
    middles = (float(np.median(side)) for side in (before, after))
    yield _Moved(column, by, "kolmogorov-smirnov", _stability(*counts), float(tested.pvalue), *middles)


def _binned(edges: np.ndarray, figure: np.ndarray) -> np.ndarray:
    """Rows in each bin between edges; where edges fell together, one value stands for much and is a bin of its own."""
    bins = np.searchsorted(edges, figure, side="left")
    if len(edges) == NUM_BINS - 1:
        return np.bincount(bins, minlength=NUM_BINS).astype(np.float64)
    bins = bins + np.searchsorted(edges, figure, side="right")
    return np.bincount(bins, minlength=2 * len(edges) + 1).astype(np.float64)


def _stability(before: np.ndarray, after: np.ndarray) -> float:
    """Population stability index of two counts [K]; half a row is added to each, so that it is finite."""
    first, second = ((side + 0.5) / (side + 0.5).sum() for side in (before, after))
    return float(((second - first) * np.log(second / first)).sum())


def _chi_squared(counts: np.ndarray) -> float | None:
    """p of counts [2, K] being of one kind; None where there is nothing to tell apart."""
    there = counts[:, counts.any(axis=0)]
    if there.shape[1] < 2:
        return None
    return float(need("scipy.stats", "train").chi2_contingency(there).pvalue)


def _told(one: _Moved, q_value: float | None) -> Drift:
    verdict: Literal["none", "some", "large"] = "none"
    if q_value is not None and q_value <= RATE and one.stability >= SOME:
        verdict = "large" if one.stability >= LARGE else "some"
    rounded: Callable[[float | None], float | None] = lambda value: None if value is None else round(value, DECIMALS)  # noqa: E731
    return Drift(
        column=one.column,
        by=one.by,
        test=one.test,
        stability=round(one.stability, DECIMALS),
        p_value=rounded(one.p_value),
        q_value=rounded(q_value),
        verdict=verdict,
        before=rounded(one.before),
        after=rounded(one.after),
        new_values=rounded(one.new_values),
    )
