"""The OpenAPI 3.1 description of a served bundle, made from the bundle itself.

Columns come from its schema, options from its task's request model, answer columns from its task;
the examples are real rows of the bundle and its own answers to them. Nothing here knows a task or a
column type: a column is described by how its parsed values are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from luban import __version__
from luban.serve.problems import KINDS, MEDIA_TYPE

if TYPE_CHECKING:
    from luban.data.schema import Column
    from luban.serve.live import Served

Json = dict[str, Any]
_PREDICT_PROBLEMS = (400, 401, 408, 413, 415, 422, 500, 503)


def openapi(served: Served, needs_key: bool) -> Json:
    """The whole document."""
    paths: Json = {
        "/v1/predict": {"post": _predict(served, needs_key)},
        "/v1/model": {"get": _get("Facts of the model that answers now.", "Model", needs_key)},
        "/health": {"get": _get("Whether the server is alive.", "Health", False)},
        "/ready": {"get": _ready()},
        "/metrics": {"get": _get_text("Figures for Prometheus.", "text/plain", needs_key)},
    }
    document: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": served.name,
            "description": served.bundle.manifest.purpose,
            "version": str(served.version) if served.version is not None else served.bundle.identity[:12],
            "x-luban": __version__,
            "x-identity": served.bundle.identity,
        },
        "paths": paths,
        "components": {"schemas": _schemas(served)},
    }
    if needs_key:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
    return document


def model_facts(served: Served) -> Json:
    """What `/v1/model` tells."""
    manifest = served.bundle.manifest
    return {
        "model": served.name,
        "version": served.version,
        "identity": served.bundle.identity,
        "purpose": manifest.purpose,
        "owner": manifest.owner,
        "task": manifest.task.kind,
        "protocol": manifest.protocol,
        "luban": manifest.luban,
        "columns": [{"name": c.name, "type": c.type, "role": c.role} for c in served.bundle.schema.columns],
        "answers": served.bundle.columns,
        "options": list(served.bundle.task.Options.model_fields),
        "loaded_at": served.since.isoformat(timespec="seconds"),
    }


def _secured(operation: Json, needs_key: bool) -> Json:
    return {**operation, "security": [{"bearer": []}, {"key": []}]} if needs_key else operation


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: str, example: Json | None = None) -> Json:
    body: Json = {"schema": _ref(schema)}
    if example is not None:
        body["example"] = example
    return {"application/json": body}


def _problem(status: int) -> Json:
    titles = [title for code, title in KINDS.values() if code == status]
    return {"description": " ".join(titles), "content": {MEDIA_TYPE: {"schema": _ref("Problem")}}}


def _predict(served: Served, needs_key: bool) -> Json:
    rows = served.bundle.example_rows()[:2]
    answers: Json | None = None
    if rows:
        answers = {
            "model": served.name,
            "version": served.version,
            "identity": served.bundle.identity,
            "answers": served.bundle.predict(rows).rows(),
            "request_id": "0123456789abcdef0123456789abcdef",
        }
    request_id: Json = {
        "name": "X-Request-ID",
        "in": "header",
        "description": "Comes back with the answer; made where it is absent or no plain token.",
        "schema": {"type": "string", "maxLength": 128},
    }
    operation = {
        "operationId": "predict",
        "summary": "One answer a row, in order; a bad row gets an error and stops no other.",
        "parameters": [request_id],
        "requestBody": {"required": True, "content": _content("Request", {"rows": rows} if rows else None)},
        "responses": {
            "200": {"description": "Answers.", "content": _content("Response", answers)},
            **{str(status): _problem(status) for status in _PREDICT_PROBLEMS if needs_key or status != 401},
        },
    }
    return _secured(operation, needs_key)


def _get(summary: str, schema: str, needs_key: bool) -> Json:
    responses = {"200": {"description": summary, "content": _content(schema)}}
    if needs_key:
        responses["401"] = _problem(401)
    return _secured({"operationId": schema.lower(), "summary": summary, "responses": responses}, needs_key)


def _get_text(summary: str, media_type: str, needs_key: bool) -> Json:
    responses = {"200": {"description": summary, "content": {media_type: {"schema": {"type": "string"}}}}}
    return _secured({"operationId": "metrics", "summary": summary, "responses": responses}, needs_key)


def _ready() -> Json:
    operation = _get("Whether a model is loaded and tested.", "Ready", False)
    operation["responses"]["503"] = _problem(503)
    return operation


def _schemas(served: Served) -> Json:
    options, defined = _options(served)
    identity = {"model": {"type": "string"}, "version": {"type": ["integer", "null"]}, "identity": {"type": "string"}}
    answers: Json = {"type": "array", "items": {"oneOf": [_ref("Answer"), _ref("RowError")]}}
    return {
        **defined,
        "Row": _row(served),
        "Options": options,
        "Request": _object(
            {
                "rows": {"type": "array", "items": _ref("Row")},
                "options": {"anyOf": [_ref("Options"), {"type": "null"}]},
            },
            required=["rows"],
        ),
        "Answer": _object({name: _answer(kind) for name, kind in served.bundle.columns.items()}),
        "RowError": _object({"error": {"type": "string", "description": "Why this row got no answer."}}),
        "Response": _object({**identity, "answers": answers, "request_id": {"type": "string"}}),
        "Model": {"type": "object", "properties": identity, "required": list(identity)},
        "Health": _object({"status": {"const": "alive"}}),
        "Ready": _object({"status": {"const": "ready"}, **identity, "newest_refused": {"type": ["string", "null"]}}),
        "Problem": _problem_schema(),
    }


def _answer(kind: str) -> Json:
    listed: Json = {"items": {"type": "string"}} if kind == "array" else {}
    return {"type": [kind, "null"], **listed}


def _object(properties: Json, required: list[str] | None = None) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _row(served: Served) -> Json:
    schema = _object({column.name: _column(served, column) for column in served.bundle.schema.columns}, required=[])
    schema["description"] = "Columns by name; an absent one is a missing value, but one input at least must be there."
    return schema


def _column(served: Served, column: Column) -> Json:
    if column.role != "input":
        return {"description": f"{column.role} ({column.type}): may be sent, is not read."}
    storage = served.bundle.preprocess.features[column.name].storage
    if pa.types.is_list(storage):
        text = f"{column.type}: a list, or text as people write it."
        return {"type": ["array", "string", "null"], "items": {"type": "string"}, "description": text}
    number_first = pa.types.is_floating(storage) or pa.types.is_integer(storage)
    kinds = ["number", "string"] if number_first else ["string", "number"]
    return {"type": [*kinds, "boolean", "null"], "description": f"{column.type}, as people write it."}


def _options(served: Served) -> tuple[Json, Json]:
    schema = served.bundle.task.Options.model_json_schema(ref_template="#/components/schemas/{model}")
    defined: Json = schema.pop("$defs", {})
    return schema, defined


def _problem_schema() -> Json:
    text = {"type": "string"}
    schema = _object(
        {
            "type": {"enum": [f"urn:luban:problem:{kind}" for kind in KINDS]},
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "todo": {"type": "string", "description": "What to do about it."},
            "request_id": text,
        }
    )
    schema["additionalProperties"] = True
    return schema
