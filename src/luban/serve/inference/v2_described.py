"""What OpenAPI says of the open inference protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.serve.http.operations import TEXT, YES_OR_NO, Body, Json, Operation, list_of, object_of
from luban.serve.inference.tensors import DATATYPES, inputs_of

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

_SHAPE: Json = {"type": "array", "items": {"type": "integer", "minimum": -1}}
_TYPE: Json = {"enum": list(DATATYPES)}
_PARAMETERS: Json = {"type": "object", "description": "Options of the task, `timeout` (microseconds), `sticky_key`."}
_COLUMN = object_of({"name": TEXT, "datatype": _TYPE, "shape": _SHAPE})
_VERSION: Json = {"version": {"type": "string", "pattern": "^[0-9]{1,9}$"}}
_VALUES: Json = {"type": "array", "items": {"type": ["string", "number", "boolean", "null"]}}
_INPUT = object_of(
    {
        "name": TEXT,
        "datatype": _TYPE,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
        "parameters": {"type": "object"},
        "data": _VALUES,
    },
    required=["name", "datatype", "shape"],
    more=True,
)
_OUTPUT = object_of(
    {"name": TEXT, "datatype": _TYPE, "shape": _SHAPE, "data": _VALUES, "parameters": {"type": "object"}},
    required=["name", "datatype", "shape"],
)
_ASKED = object_of(
    {
        "id": TEXT,
        "parameters": _PARAMETERS,
        "inputs": {"type": "array", "items": _INPUT, "minItems": 1},
        "outputs": list_of(object_of({"name": TEXT, "parameters": {"type": "object"}}, ["name"], more=True)),
    },
    required=["inputs"],
    more=True,
)
_GIVEN = object_of(
    {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": {"type": "object"},
        "outputs": list_of(_OUTPUT),
    },
    required=["model_name", "outputs"],
)


def _example(served: Served) -> Any:
    rows = served.bundle.example_rows()[:2]
    if not rows:
        return None
    inputs = []
    for name, datatype in inputs_of(served).items():
        values = [row.get(name) for row in rows]
        if any(isinstance(value, list) for value in values):
            continue
        if datatype == "BYTES":
            values = [None if value is None else str(value) for value in values]
        inputs.append({"name": name, "datatype": datatype, "shape": [len(rows)], "data": values})
    return {"inputs": inputs}


SERVER = Operation(
    "What this server is and which extensions of the protocol it has.",
    gives=Body(object_of({"name": TEXT, "version": TEXT, "extensions": list_of(TEXT)})),
)
LIVE = Operation("Whether the server is alive.", gives=Body(object_of({"live": YES_OR_NO})))
READY = Operation("Whether the server's model is loaded.", gives=Body(object_of({"ready": YES_OR_NO})), problems=(503,))
MODEL = Operation(
    "Inputs and outputs of a model.",
    gives=Body(
        object_of(
            {
                "name": TEXT,
                "versions": list_of(TEXT),
                "platform": TEXT,
                "inputs": list_of(_COLUMN),
                "outputs": list_of(_COLUMN),
            }
        )
    ),
    parts=_VERSION,
    problems=(404, 503),
)
MODEL_READY = Operation(
    "Whether a model is loaded.",
    gives=Body(object_of({"name": TEXT, "ready": YES_OR_NO})),
    parts=_VERSION,
    problems=(404, 503),
)
INFER = Operation(
    "Columns as tensors in, answer columns as tensors out.",
    takes=(Body(_ASKED, example=_example), Body(None, "application/octet-stream")),
    gives=(Body(_GIVEN), Body(None, "application/octet-stream")),
    parts=_VERSION,
    problems=(400, 404, 408, 413, 415, 422, 429, 503, 504),
)
