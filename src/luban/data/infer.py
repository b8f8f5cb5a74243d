"""What the columns of a table are, where nobody has said so: types and roles.

Decided here: types are judged by the column types themselves on a sample, the surest wins, the first of
the catalog where two are equally sure. What is stated is never changed. A target of few distinct values
is a category, whatever its values look like. An id is a column of unique values that is named like one, or
that counts rows. Every conclusion comes with its reason. Does not know column types, but for the names of
those that roles ask for. Objects, lists in lists and bytes that are no pictures are carried along, not learnt from,
unless somebody says how they are to be read: an object's fields are columns that were not written as such.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from luban.catalog import FEATURES, nearest
from luban.data.binary import data_uri
from luban.data.config import ColumnConfig
from luban.data.schema import Column, Role
from luban.data.sources.base import RawBatch
from luban.errors import BadValue, ConfigError, DataError

CLASSES = "category"
_ROLE_TYPES: dict[Role, str] = {"time": "time", "weight": "number", "id": CLASSES, "subject": CLASSES, "group": CLASSES}
_ID_NAME = re.compile(
    r"(^|[_\-. ])(id|uuid|guid|key|no|nr|index|rowid|row_id)$|[a-z]ID$|编号|序号|单号|^Unnamed: 0$", re.I
)
_LEFT = 0.3
"""A type is judged by what it can read only if so much of the sample is left."""
_SPREAD, _SPREAD_BYTES = 20, 64 << 20
_MOSTLY = 0.9
"""Of values that are not empty: so many must be structures of one kind."""
_EMPTY: tuple[Any, ...] = ([], "[]", {}, "{}")
_FLATTEN = {
    "objects": "write each of their fields as a column of its own",
    "lists of lists or objects": "write what is in them as columns of their own",
    "lists of decimal numbers": "write each number as a column of its own",
    "bytes": "write them as text, as numbers or as pictures (PNG, JPEG, WebP, BMP, GIF)",
}
_MANY = 50
"""From so many rows on it means something that all values of a column differ."""


@dataclass(frozen=True)
class Conclusion:
    """What a column was taken for, and why, in words."""

    column: Column
    reason: str
    stated: bool
    """The role was stated, or follows from what was stated."""


class Cleaner(Protocol):
    """What is asked of a row step here."""

    def suited(self, readable: Callable[[str], bool], /) -> Cleaner:
        """The step for a column whose type can read these strings."""

    def value(self, raw: Any, /) -> Any:
        """One value after the step."""

    def apply(self, values: pa.Array, /) -> tuple[pa.Array, Any]:
        """A column after the step."""


def conclude(
    sample: pa.Table,
    columns: Mapping[str, ColumnConfig],
    roles: Mapping[str, Role],
    steps: Sequence[Cleaner] = (),
) -> list[Conclusion]:
    """Type and role of every column of a sample of raw rows, in order.

    `columns` and `roles` are what is stated; `steps` are what the values go through before they are
    parsed. Raises ConfigError for a column that is stated but not there.
    """
    for name in [*columns, *roles]:
        if name not in sample.schema.names:
            raise _no_column(name, sample.schema.names)
    return [
        _column(name, cleaned(sample, name, steps), columns.get(name), roles.get(name), steps)
        for name in sample.schema.names
    ]


def _no_column(name: str, known: list[str]) -> ConfigError:
    close = nearest(name, known)
    hint = f"Did you mean `{close}`? " if close else ""
    return ConfigError(f"The data has no column `{name}`.", f"{hint}Columns: {', '.join(known)}.")


def _column(
    name: str, present: Sequence[Any], stated: ColumnConfig | None, role: Role | None, steps: Sequence[Cleaner]
) -> Conclusion:
    if stated is not None and stated.type is not None:
        column = Column(name=name, type=stated.type, role=role or "input", settings=stated.settings)
        return Conclusion(column, "stated", role is not None)
    kind, reason, settings = guess(present, steps)
    if role is None and not _keeps_bytes(kind) and (why := structured(present)):
        return Conclusion(Column(name=name, type=CLASSES, role="meta"), why, False)
    if role == "target":
        guessed = kind
        kind, reason = _target(kind, reason, present)
        settings = settings if kind == guessed else {}
    elif role in _ROLE_TYPES:
        kind, reason, settings = _ROLE_TYPES[role], f"a column of role {role}", {}
    elif role is None and (why := _names_rows(name, present)):
        return Conclusion(Column(name=name, type=CLASSES, role="id"), why, False)
    return Conclusion(Column(name=name, type=kind, role=role or "input", settings=settings), reason, role is not None)


def structured(present: Sequence[Any]) -> str | None:
    """What values hold, in words, if no column can be learnt from them as they stand, and what to do; else None.

    >>> structured([{"a": 1}, '{"a": 2}']), structured(["{a}", "b"]), structured([["x"], []])
    ('holds objects: write each of their fields as a column of its own', None, None)
    """
    kinds = Counter(_structure(value) for value in present if value not in _EMPTY)
    if not kinds:
        return None
    what, count = kinds.most_common(1)[0]
    return None if what is None or count < _MOSTLY * kinds.total() else f"holds {what}: {_FLATTEN[what]}"


def _structure(value: Any) -> str | None:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if isinstance(value, bytes):
        return "bytes"
    if isinstance(value, dict):
        return "objects"
    if not isinstance(value, list):
        return None
    if any(isinstance(item, (list, tuple, dict, bytes)) for item in value):
        return "lists of lists or objects"
    return "lists of decimal numbers" if any(isinstance(item, float) for item in value) else None


def cleaned(sample: pa.Table, name: str, steps: Sequence[Cleaner]) -> list[Any]:
    """The values of a column that are left after steps, without missing ones."""
    values = sample.column(name).combine_chunks()
    for step in steps:
        values, _ = step.apply(values)
    found: list[Any] = values.drop_null().to_pylist()
    return found


def guess(present: Sequence[Any], steps: Sequence[Cleaner] = ()) -> tuple[str, str, dict[str, Any]]:
    """The best type for values that went through `steps` already, why, and the settings that it asks for."""
    if not present:
        return CLASSES, "nothing in the sample to judge by", {}
    texts = [as_text(value) for value in present]
    best, score, why, settings = CLASSES, 0.0, "nothing else fits", {}
    for kind in _candidates(present):
        sample = suited(texts, kind, steps)
        if len(sample) < _LEFT * len(texts):
            continue
        found = FEATURES.make(kind).infer(sample)
        if found is not None and found.score > score:
            best, score, why, settings = kind, found.score, found.reason, found.settings
    return best, why, settings


def _candidates(present: Sequence[Any]) -> Sequence[str]:
    """The column types to ask: of bytes those that keep bytes, else all."""
    if not isinstance(present[0], bytes):
        return FEATURES.usable()
    return [kind for kind in FEATURES.usable() if _keeps_bytes(kind)]


def _keeps_bytes(kind: str) -> bool:
    return bool(pa.types.is_large_binary(FEATURES.resolve(kind).storage))


def suited(texts: Sequence[str], kind: str, steps: Sequence[Cleaner]) -> list[str]:
    """What is left of values once the steps have suited themselves to a column type."""
    readable = reader(FEATURES.make(kind))
    for step in steps:
        if (other := step.suited(readable)) is not step:
            texts = [text for text in map(other.value, texts) if text is not None]
    return list(texts)


def reader(feature: Any) -> Callable[[str], bool]:
    """Whether a column type can read a string as a value."""

    def readable(text: str) -> bool:
        try:
            return feature.parse_value(text) is not None
        except BadValue:
            return False

    return readable


def as_text(value: Any) -> str:
    """A raw value of any type as people would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return data_uri(value) if isinstance(value, bytes) else str(value)


def _target(kind: str, reason: str, present: Sequence[Any]) -> tuple[str, str]:
    """A target's type: a category where its distinct values are few."""
    texts = {as_text(value) for value in present}
    count, rows = len(texts), len(present)
    if kind == CLASSES or not rows or pa.types.is_nested(FEATURES.resolve(kind).storage):
        return kind, reason
    if count <= 2:
        return CLASSES, f"the target has {count} distinct values"
    numbers = _integers(present)
    if kind == "number":
        whole = numbers is not None and max(numbers) - min(numbers) + 1 == count
        if whole and count <= 10 and rows >= 10 * count:
            return CLASSES, f"the target has {count} distinct values, consecutive whole numbers"
        return kind, reason
    if count <= max(2, min(1000, rows // 2)):
        return CLASSES, f"the target has {count} distinct values in {rows} rows"
    return kind, reason


def _integers(present: Sequence[Any]) -> list[int] | None:
    try:
        numbers = [float(as_text(value)) for value in present]
    except ValueError:
        return None
    return [int(number) for number in numbers] if all(number.is_integer() for number in numbers) else None


def _names_rows(name: str, present: Sequence[Any]) -> str | None:
    """Why a column names its rows, or None."""
    texts = [as_text(value) for value in present]
    if len(texts) < 2 or len(set(texts)) < len(texts) or max(map(len, texts)) > 64:
        return None
    numbers = _integers(present)
    if _ID_NAME.search(name) and (numbers is not None or not any(" " in text for text in texts)):
        return "unique values, and named like an id"
    if numbers and len(numbers) >= _MANY and numbers == list(range(numbers[0], numbers[0] + len(numbers))):
        return "counts the rows"
    return None


@dataclass(frozen=True)
class Head:
    """The beginning of a source: some of its rows to judge by, and all that was read for that."""

    sample: pa.Table
    batches: list[RawBatch]
    complete: bool
    """There were no more rows."""


def head(batches: Iterator[RawBatch], rows: int) -> Head:
    """Rows for inference: spread evenly over the beginning, because files are often sorted by class.

    Reads 20 times `rows` or 64 MB. Raises DataError if there are none.
    """
    read: list[RawBatch] = []
    count = size = 0
    complete = True
    for batch in batches:
        read.append(batch)
        count, size = count + batch.rows.num_rows, size + batch.rows.nbytes
        if count >= _SPREAD * rows or size >= _SPREAD_BYTES:
            complete = False
            break
    if not count:
        raise DataError("The data has no rows.", "Check `data.source`.")
    table = pa.Table.from_batches([batch.rows for batch in read])
    chosen = np.linspace(0, count - 1, min(rows, count)).astype(np.int64)
    return Head(table.take(pa.array(chosen)) if count > rows else table, read, complete)
