"""The OpenAPI 3.1 description of a server, made from its routes and the bundle that it serves.

What a route takes and gives stands beside the route (`operations.py`); here are the schemas that all share.
Columns come from the bundle's schema, options from its task's request model, answer columns from its task;
the examples are real rows of the bundle and its own answers to them. Nothing here knows a task or a
column type: a column is described by how its parsed values are stored. Nor does it know a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from luban import __version__
from luban.serve.http.operations import TEXT, YES_OR_NO, Body, Json, list_of, object_of, or_null, ref
from luban.serve.http.problems import KINDS, MEDIA_TYPE

if TYPE_CHECKING:
    from luban.data.schema import Column
    from luban.serve.fleet.live import Served
    from luban.serve.http.routes import Route

REQUEST_ID: Json = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Comes back with the answer; made where it is absent or no plain token.",
    "schema": {"type": "string", "maxLength": 128},
}


def openapi(served: Served, routes: Iterable[Route], models: Sequence[str], needs_key: bool) -> Json:
    """The whole document. `models` are the names that a part `{model}` of a path may be."""
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, served, models, needs_key)
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


def summary_of(route: Route) -> str:
    """What a route does, in a sentence."""
    return route.describe.summary or (route.handler.__doc__ or "").strip().partition("\n")[0]


def _operation(route: Route, served: Served, models: Sequence[str], needs_key: bool) -> Json:
    about = route.describe
    locked = needs_key and route.role is not None
    statuses = {*about.problems, *((401, 403) if locked else ())}
    success: Json = {"description": "Success."}
    if about.status != 204:
        success["content"] = _content(about.given(), served)
    operation: Json = {
        "operationId": _name(route),
        "summary": summary_of(route),
        "parameters": [*_parameters(route, models), REQUEST_ID],
        "responses": {
            str(about.status): success,
            **{str(status): _problem(status) for status in sorted(statuses)},
            "default": _problem(),
        },
    }
    if about.taken():
        operation["requestBody"] = {"required": True, "content": _content(about.taken(), served)}
    if locked:
        operation["security"] = [{"bearer": []}, {"key": []}]
    return operation


def _name(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("/v1/", "/"))
    return "_".join([route.method.lower(), *words]) if words else f"{route.method.lower()}_page"


def _parameters(route: Route, models: Sequence[str]) -> list[Json]:
    known: Json = {"model": {"enum": list(models)}, **route.describe.parts}
    parts: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": known.get(name, {"type": "string", "minLength": 1})}
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    asked = [("query", route.describe.query), ("header", route.describe.headers)]
    return [*parts, *({"name": n, "in": where, "schema": s} for where, group in asked for n, s in group.items())]


def _content(bodies: Sequence[Body], served: Served) -> Json:
    content: Json = {}
    for body in bodies:
        found: Json = {"schema": body.schema} if body.schema is not None else {}
        example = body.example(served) if body.example is not None else None
        if example is not None:
            found["example"] = example
        content[body.media_type] = found
    return content


def _problem(status: int | None = None) -> Json:
    titles = [title for code, title in KINDS.values() if code == status]
    text = " ".join(titles) or "Whatever else was wrong."
    return {"description": text, "content": {MEDIA_TYPE: {"schema": ref("Problem")}}}


def _schemas(served: Served) -> Json:
    options, defined = _options(served)
    identity: Json = {"model": TEXT, "version": or_null({"type": "integer"}), "identity": TEXT}
    answers = list_of({"oneOf": [ref("Answer"), ref("RowError")]})
    asked: Json = {"rows": list_of(ref("Row")), "options": or_null(ref("Options")), "explain": YES_OR_NO}
    return {
        **defined,
        "Row": _row(served),
        "Options": options,
        "Request": object_of(asked, required=["rows"]),
        "Form": _form(served),
        "Answer": object_of({name: _answer(kind) for name, kind in served.bundle.columns.items()}, more=True),
        "RowError": object_of({"error": {"type": "string", "description": "Why this row got no answer."}}),
        "Response": object_of({**identity, "answers": answers, "request_id": TEXT}, more=True),
        "Identity": object_of(identity, more=True),
        "Problem": _problem_schema(),
    }


def _answer(kind: str) -> Json:
    listed: Json = {"items": {"type": "string"}} if kind == "array" else {}
    return {"type": [kind, "null"], **listed}


def _row(served: Served) -> Json:
    schema = object_of({column.name: _column(served, column) for column in served.bundle.schema.columns}, required=[])
    schema["description"] = "Columns by name; an absent one is a missing value, but one input at least must be there."
    return schema


def _form(served: Served) -> Json:
    columns = {name: {"description": "A file."} if name in served.files else TEXT for name in served.inputs}
    json: Json = {"type": "string", "contentMediaType": "application/json"}
    more: Json = {
        "rows": {**json, "description": 'Several rows; {"file": "name"} stands for the file part of that name.'},
        "options": json,
        "explain": {"enum": ["true", "false"]},
    }
    schema = object_of({**columns, **more}, required=[], more=True)
    schema["description"] = "One row, a part for each column, files with a file name; or a part `rows`, and its files."
    return schema


def _column(served: Served, column: Column) -> Json:
    if column.role != "input":
        return {"description": f"{column.role} ({column.type}): may be sent, is not read."}
    storage = served.bundle.preprocess.features[column.name].storage
    if column.name in served.files:
        text = f"{column.type}: a file as base64, or as a data URI."
        return {"type": ["string", "null"], "contentEncoding": "base64", "description": text}
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
    return object_of(
        {
            "type": {"enum": [f"urn:luban:problem:{kind}" for kind in KINDS]},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "todo": {"type": "string", "description": "What to do about it."},
            "request_id": TEXT,
        },
        more=True,
    )
