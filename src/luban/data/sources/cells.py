"""Values of typed formats (Excel, JSON) as Arrow columns of one type each.

Decided here: a column that holds one kind of value has that type (whole and other numbers together are
float64, dates and date-times together timestamps); any other mixture is strings, with numbers written
without ".0" and nested values as JSON. A column without any value is of strings. Whole numbers beyond 64 bits are
strings, because they are identifiers and must keep their digits.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

INT64 = range(-(2**63), 2**63)
_TYPES: list[tuple[set[type], pa.DataType]] = [
    ({bool}, pa.bool_()),
    ({int}, pa.int64()),
    ({int, float}, pa.float64()),
    ({dt.date}, pa.date32()),
    ({dt.date, dt.datetime}, pa.timestamp("us")),
]


@dataclass
class Columns:
    """Names in the order they were first seen, and which kinds of value each holds."""

    kinds: dict[str, set[type]] = field(default_factory=dict)

    def observe(self, name: str, values: Iterable[Any]) -> None:
        """Take note of some values of a column."""
        found = self.kinds.setdefault(name, set())
        values = list(values)
        found |= set(map(type, values))
        found.discard(type(None))
        if int in found and str not in found and any(v not in INT64 for v in values if type(v) is int):
            found.add(str)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow type of every column."""
        return pa.schema([pa.field(name, self._type(found)) for name, found in self.kinds.items()])

    @staticmethod
    def _type(found: set[type]) -> pa.DataType:
        if found:
            for kinds, arrow in _TYPES:
                if found <= kinds:
                    return arrow
        return pa.string()


def batch_of(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """A record batch of these columns of values."""
    arrays = []
    for values, each in zip(columns, schema, strict=True):
        if each.type == pa.string():
            values = [as_text(value) for value in values]
        elif each.type == pa.timestamp("us"):
            values = [_moment(value) for value in values]
        arrays.append(pa.array(values, each.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _moment(value: dt.date | None) -> dt.datetime | None:
    if value is None or isinstance(value, dt.datetime):
        return value
    return dt.datetime(value.year, value.month, value.day)


def as_text(value: Any) -> str | None:
    """A value as it is written in a column of strings.

    >>> [as_text(value) for value in (3.0, True, {"a": 1}, "x")]
    ['3', 'true', '{"a":1}', 'x']
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return _json(value)
    return str(value)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError:  # a whole number beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
