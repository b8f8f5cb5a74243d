"""What OpenAPI says of a route: what it takes, what it gives, in the words of whoever wrote its handler.

A group of paths states it beside its routes, and nothing central knows a path:

    Route("POST", "/v1/feedback", self.feedback, describe=Operation(
        "Take the truth of answers that were given.",
        takes=Body(object_of({"request_id": TEXT, "truth": {}}, required=["request_id"])),
        gives=Body(object_of({"taken": WHOLE})),
    ))

A schema is JSON Schema (draft 2020-12); `ref("Row")` names one of those that `openapi.py` makes from the
bundle: Row, Options, Answer, RowError, Request, Response, Problem, Identity. Parts of the path, the key,
X-Request-ID and the problems that any route may give are added there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

Json: TypeAlias = dict[str, Any]
"""A piece of JSON Schema."""
JSON = "application/json"
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
WHOLE: Json = {"type": "integer"}
YES_OR_NO: Json = {"type": "boolean"}


@dataclass(frozen=True)
class Body:
    """A body of a request or a response. `schema` None: bytes of that media type.

    `example` makes one from the bundle that is served, None where it has no example rows.
    """

    schema: Json | None
    media_type: str = JSON
    example: Callable[[Served], Any] | None = None


@dataclass(frozen=True)
class Operation:
    """One method of one path, for OpenAPI. `summary` "": the first line of the handler's docstring.

    `takes` and `gives` are all forms that a body may have; `query` and `headers` map names of parameters
    to schemas (none of them is required); `parts` those of the path, where they are more than text; `status`
    is that of success, `problems` those that this very route may give.
    """

    summary: str = ""
    takes: Body | tuple[Body, ...] = ()
    gives: Body | tuple[Body, ...] = ()
    status: int = 200
    parts: Mapping[str, Json] = field(default_factory=dict)
    query: Mapping[str, Json] = field(default_factory=dict)
    headers: Mapping[str, Json] = field(default_factory=dict)
    problems: tuple[int, ...] = ()

    def taken(self) -> tuple[Body, ...]:
        """Forms of the request's body."""
        return self.takes if isinstance(self.takes, tuple) else (self.takes,)

    def given(self) -> tuple[Body, ...]:
        """Forms of the response's body; any JSON where nothing was said."""
        found = self.gives if isinstance(self.gives, tuple) else (self.gives,)
        return found or (Body({}),)


def ref(name: str) -> Json:
    """A schema of `components`, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Json, required: list[str] | None = None, more: bool = False) -> Json:
    """An object with these members, all of them required unless said otherwise; `more`: others may be there."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": more,
    }


def list_of(items: Json) -> Json:
    """A list of such things."""
    return {"type": "array", "items": items}


def or_null(schema: Json) -> Json:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}
