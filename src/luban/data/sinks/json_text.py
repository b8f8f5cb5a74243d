"""Values that a format has no type for, as text.

Decided here: lists of labels are joined by "; ", other nested values are JSON, times are ISO 8601, decimals are
their digits; NaN and infinity, which JSON does not know, become null in it; bytes are data URIs, which is how
a column of pictures is read from text.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
from typing import Any

import orjson
import pyarrow as pa

from luban.data.binary import data_uri

_AMBIGUOUS = re.compile(r"[;；\n]|^\s|\s$|^$|^\[")
"""What a label must not hold if it is to be read back from labels joined by a semicolon."""


def default(value: Any) -> Any:
    """What orjson asks for values that it does not know."""
    if isinstance(value, dt.timedelta | decimal.Decimal):
        return str(value)
    if isinstance(value, bytes):
        return data_uri(value)
    raise TypeError(type(value).__name__)


def json_line(value: Any) -> bytes:
    """JSON and a line feed."""
    return orjson.dumps(value, default=default, option=orjson.OPT_APPEND_NEWLINE)


def nested(value: Any) -> Any:
    """Lists of labels joined, JSON for other lists and objects; other values as they are.

    >>> nested(["late", "cold"]), nested([]), nested(["a; b"]), nested([1, 2])
    ('late; cold', '', '["a; b"]', '[1,2]')
    """
    if isinstance(value, list) and all(isinstance(x, str) and not _AMBIGUOUS.search(x) for x in value):
        return "; ".join(value)
    return json_line(value)[:-1].decode("utf-8") if isinstance(value, dict | list) else value


def values_of(column: pa.Array) -> list[Any]:
    """A column as Python values; times finer than a microsecond, which Python does not know, as text."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        try:
            return list(column.cast(pa.timestamp("us", column.type.tz)).to_pylist())
        except pa.ArrowInvalid:
            return list(column.cast(pa.string()).to_pylist())
    return list(column.to_pylist())


def written(value: Any) -> str | None:
    """A plain value as text, None where missing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return str(default(value) if isinstance(value, bytes) else value)
