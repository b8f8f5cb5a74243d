"""Rows as tensors and answers as tensors: what the open inference protocol (V2) needs, over REST and gRPC.

A column is a tensor of shape [n] or [n, 1] under its own name; a row is what stands at one place in all of
them. Text is BYTES, and so are files (pictures): as they are, in JSON as base64. Numbers are FP64, whole numbers INT64,
truth values BOOL; numbers of other widths are taken, too, for any column. A value is missing where JSON has null, a
number is NaN, or the column is not sent. Lists (tags) are JSON in BYTES. Answers are one tensor a column, and `error`,
"" where there is none; an answer that a row does not have is NaN, "" or false. Source: KServe open inference protocol
v2, with its binary tensor data extension.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa

from luban.data.binary import UNKNOWN_TYPE, media_type
from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served
    from luban.serve.question import Answer

ERROR = "error"
_WIDTHS = {
    "BOOL": "?",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
DATATYPES = ("BYTES", *_WIDTHS)
_ANSWERED = {"string": "BYTES", "number": "FP64", "array": "BYTES", "boolean": "BOOL"}


@dataclass(frozen=True)
class Tensor:
    """A column of values, flat; None where one is missing."""

    name: str
    datatype: str
    values: list[Any]


def inputs_of(served: Served) -> dict[str, str]:
    """Input columns and their datatypes."""
    features = served.bundle.preprocess.features
    return {column.name: _datatype(features[column.name].storage) for column in served.bundle.schema.inputs}


def outputs_of(served: Served) -> dict[str, str]:
    """Answer columns and their datatypes."""
    return {**{name: _ANSWERED[kind] for name, kind in served.bundle.columns.items()}, ERROR: "BYTES"}


def _datatype(storage: pa.DataType) -> str:
    if pa.types.is_floating(storage):
        return "FP64"
    if pa.types.is_integer(storage):
        return "INT64"
    return "BOOL" if pa.types.is_boolean(storage) else "BYTES"


def count_of(name: str, shape: Sequence[Any]) -> int:
    """The number of rows that a shape says: [n] or [n, 1]. Raises Problem."""
    if not 1 <= len(shape) <= 2 or not all(type(d) is int and d >= 0 for d in shape) or shape[1:] not in ([], [1]):
        raise _wrong(f"The shape of `{_short(name)}` must be [n] or [n, 1], but got {_short(str(list(shape)))}.")
    return int(shape[0])


def rows_of(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """The rows whose columns these are. Raises Problem where their lengths differ or a name stands twice."""
    columns: dict[str, list[Any]] = {}
    for tensor in tensors:
        if tensor.name in columns:
            raise _wrong(f"The input `{_short(tensor.name)}` stands twice.")
        columns[tensor.name] = tensor.values
    if not columns:
        raise _wrong("`inputs` must hold at least one tensor.")
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise _wrong(f"All inputs must have as many rows, but got {', '.join(map(str, sorted(lengths)))}.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def plain(name: str, datatype: str, count: int, data: Any) -> Tensor:
    """A tensor whose values are JSON, flat or one list a row. Raises Problem."""
    known(name, datatype)
    if not isinstance(data, list):
        raise _wrong(f"`data` of `{_short(name)}` must be a list.")
    if data and all(isinstance(value, list) and len(value) == 1 for value in data):
        data = [value[0] for value in data]
    _counted(name, len(data), count)
    return Tensor(name, datatype, [_value(name, datatype, value) for value in data])


def _value(name: str, datatype: str, value: Any) -> Any:
    if value is None:
        return None
    if datatype == "BYTES" and isinstance(value, str):
        return value
    if datatype == "BOOL" and isinstance(value, bool):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (datatype.startswith("FP") or (datatype in _WIDTHS and datatype != "BOOL" and value == int(value))):
        return value
    raise _wrong(f"A value of `{_short(name)}` is no {datatype}: {_short(repr(value))}.")


def unpacked(name: str, datatype: str, count: int, data: bytes | memoryview) -> Tensor:
    """A tensor from its bytes: little-endian numbers, or texts each after its length. Raises Problem."""
    known(name, datatype)
    if datatype == "BYTES":
        values: list[Any] = _texts(name, bytes(data), count)
    else:
        width = np.dtype(_WIDTHS[datatype])
        if len(data) != count * width.itemsize:
            length = count * width.itemsize
            raise _wrong(f"`{_short(name)}` must have {length} bytes for {count} {datatype}, but got {len(data)}.")
        values = np.frombuffer(data, width).tolist()
    return Tensor(name, datatype, without_nan(datatype, values))


def without_nan(datatype: str, values: list[Any]) -> list[Any]:
    """The same with None for what is not a number."""
    return [None if value != value else value for value in values] if datatype.startswith("FP") else values


def _texts(name: str, data: bytes, count: int) -> list[Any]:
    found: list[Any] = []
    at = 0
    while at < len(data):
        if at + 4 > len(data) or (end := at + 4 + struct.unpack_from("<I", data, at)[0]) > len(data):
            raise _wrong(f"The bytes of `{_short(name)}` end within a text.")
        found.append(text_or_file(name, data[at + 4 : end]))
        at = end
    _counted(name, len(found), count)
    return found


def text_or_file(name: str, data: bytes) -> str | bytes:
    """Bytes as text, or a file (a picture) as it is. Raises Problem where they are neither UTF-8 nor a known file."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if media_type(data) != UNKNOWN_TYPE:
            return data
        raise _wrong(f"A text of `{_short(name)}` is not UTF-8 at byte {error.start}.") from None


def answers_as_tensors(served: Served, answers: Sequence[Answer], wanted: Sequence[str] = ()) -> list[Tensor]:
    """One tensor a column of the answers, in the order of `wanted`; all where that is empty. Raises Problem.

    What a finisher added to answers comes as JSON in BYTES, after the columns.
    """
    kinds = outputs_of(served)
    more = {name: "BYTES" for answer in answers for name in answer if name not in kinds}
    kinds |= more
    for name in wanted:
        if name not in kinds:
            raise _wrong(f"There is no output `{_short(name)}`; outputs: {', '.join(kinds)}.")
    return [_answered(name, kinds[name], name in more, answers) for name in wanted or kinds]


def _answered(name: str, datatype: str, as_json: bool, answers: Sequence[Answer]) -> Tensor:
    values = [answer.get(name) for answer in answers]
    if datatype == "BYTES":
        values = [value if isinstance(value, str) and not as_json else _json(value) for value in values]
    elif datatype == "BOOL":
        values = [bool(value) for value in values]
    return Tensor(name, datatype, values)


def _json(value: Any) -> str:
    return "" if value is None else orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def packed(tensor: Tensor) -> bytes:
    """The bytes of a tensor, as `unpacked` reads them."""
    if tensor.datatype == "BYTES":
        texts = [value.encode("utf-8") for value in tensor.values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(tensor.values, _WIDTHS[tensor.datatype]).tobytes()


def known(name: str, datatype: str) -> None:
    """Raises Problem where there is no such datatype."""
    if datatype not in DATATYPES:
        raise _wrong(f"The datatype of `{_short(name)}` must be one of {', '.join(DATATYPES)}.")


def split_parameters(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The protocol's own parameters, and the others, which are options of the task."""
    own = {name: value for name, value in given.items() if name in OWN}
    return own, {name: value for name, value in given.items() if name not in OWN}


OWN = (
    "binary_data_output",
    "sticky_key",
    "timeout",
    "explain",
    "priority",
    "sequence_id",
    "sequence_start",
    "sequence_end",
)
"""`timeout` is in microseconds; priorities and sequences are the protocol's, and say nothing to a server of rows."""


def _counted(name: str, found: int, count: int) -> None:
    if found != count:
        raise _wrong(f"`{_short(name)}` must have {count} values, as its shape says, but got {found}.")


def _wrong(detail: str) -> Problem:
    return Problem("wrong-shape", detail, "See /openapi.json, or GET /v2/models/NAME for the columns.")


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"
