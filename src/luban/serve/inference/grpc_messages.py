"""What messages of the open inference protocol (V2) say over gRPC: rows and parameters read, answers written.

Decided here: inputs come as raw bytes or as typed contents, all in one form; answers go out as raw bytes, the one form
that every datatype has. A message is one of the protocol's own classes, which protobuf makes at run time (`proto`): to
the type checker it is Any. Knows no connection, no key and no model. Source: KServe, "Open Inference Protocol V2".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from luban.serve.http.problems import Problem
from luban.serve.inference.tensors import (
    Tensor,
    answers_as_tensors,
    count_of,
    packed,
    rows_of,
    text_or_file,
    unpacked,
    without_nan,
)
from luban.serve.question import Question, Reply

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of `contents` that holds the values of a datatype."""


def rows(message: Any) -> list[dict[str, Any]]:
    """The rows of a ModelInferRequest, from its tensors. Raises Problem where they do not fit their shape."""
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        detail = f"`raw_input_contents` must hold one entry an input, but got {len(raw)} for {len(message.inputs)}."
        raise Problem("wrong-shape", detail, "Send all inputs in one form.")
    tensors: list[Tensor] = []
    for place, one in enumerate(message.inputs):
        count = count_of(one.name, list(one.shape))
        tensors.append(unpacked(one.name, one.datatype, count, raw[place]) if raw else _from_contents(one, count))
    return rows_of(tensors)


def _from_contents(one: Any, count: int) -> Tensor:
    field = _CONTENTS.get(one.datatype)
    if field is None:
        detail = f"The datatype of `{one.name[:80]}` must be one of {', '.join(_CONTENTS)}, or sent as raw bytes."
        raise Problem("wrong-shape", detail, "Send `raw_input_contents`.")
    values = list(getattr(one.contents, field))
    if len(values) != count:
        detail = f"`{one.name[:80]}` must have {count} values in `{field}`, as its shape says, but got {len(values)}."
        raise Problem("wrong-shape", detail, "Send as many values as the shape says.")
    if one.datatype == "BYTES":
        values = [text_or_file(one.name, value) for value in values]
    return Tensor(one.name, one.datatype, without_nan(one.datatype, values))


def parameters(message: Any) -> dict[str, Any]:
    """The parameters of a ModelInferRequest, those that are set, as plain values."""
    found = message.parameters
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in found.items()}
    return {name: getattr(found[name], choice) for name, choice in chosen.items() if choice}


def answered(messages: Mapping[str, Any], message: Any, question: Question, reply: Reply) -> Any:
    """The ModelInferResponse to a request: who answered it, and the outputs that were asked for."""
    served = reply.arm.served
    made = messages["ModelInferResponse"](model_name=served.name, id=message.id)
    made.model_version = "" if served.version is None else str(served.version)
    made.parameters["identity"].string_param = served.bundle.identity
    made.parameters["request_id"].string_param = question.entry.request_id
    for tensor in answers_as_tensors(served, reply.answers, [one.name for one in message.outputs]):
        made.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=[len(tensor.values)])
        made.raw_output_contents.append(packed(tensor))
    return made
