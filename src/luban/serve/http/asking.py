"""The body of `/v1/predict`, and of its answer.

The one form of a request:  {"rows": [{"column": value, ...}, ...], "options": {...}, "explain": false}
and of a response:          {"model", "version", "identity", "answers": [...], "request_id"}

One answer a row, in order. What is wrong with the body as a whole is a `Problem`; what is wrong with one
row is that row's `{"error": reason}` and stops no other. A column that the bundle's schema does not
have is an error, because a misspelt name would otherwise be a silent missing value. Columns of the
schema that are no inputs (the target, ids) may be sent and are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from luban.catalog import nearest
from luban.errors import plain
from luban.serve.http.problems import Problem
from luban.serve.question import Entry, Question, Reply

if TYPE_CHECKING:
    from luban.tasks.base import TaskOptions

FIELDS = ("rows", "options", "explain")
MAX_HINTS = 5
"""Rows of one question whose wrong column is compared with all that there are: that takes time."""
MAX_OPTION_VALUES = 1000
_NESTED = frozenset((list, dict))
_FORM = 'Send {"rows": [{"column": value, ...}, ...]}, and "options" if you like; see /openapi.json.'


def read(body: bytes, entry: Entry, max_rows: int) -> Question:
    """The question that a body asks. Raises Problem where it is not JSON or not of the one form."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(
            "not-json",
            f"At character {error.pos}: {error.msg}.",
            "Send JSON in UTF-8; NaN and Infinity are not JSON: send null for a missing value.",
            {"offset": error.pos},
        ) from None
    if not isinstance(found, dict):
        raise wrong("", f"The body must be an object, but got {_named(found)}.")
    for name in found:
        if name not in FIELDS:
            close = nearest(name, FIELDS)
            raise wrong("", f"There is no member `{_short(name)}`." + (f" Did you mean `{close}`?" if close else ""))
    rows = found.get("rows")
    if not isinstance(rows, list):
        raise wrong("/rows", f"`rows` must be a list of objects, but got {_named(rows)}.")
    if len(rows) > max_rows:
        raise too_many(len(rows), max_rows)
    explain = found.get("explain", False)
    if not isinstance(explain, bool):
        raise wrong("/explain", f"`explain` must be true or false, but got {_named(explain)}.")
    return Question(entry, rows, found.get("options"), explain=explain)


def write(reply: Reply, request_id: str) -> bytes:
    """The body of an answer. Numbers that do not exist (NaN) become null: JSON has no word for them."""
    served = reply.arm.served
    data = {
        "model": served.name,
        "version": served.version,
        "identity": served.bundle.identity,
        "answers": reply.answers,
        **reply.extra,
        "request_id": request_id,
    }
    return orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)


def too_many(count: int, max_rows: int) -> Problem:
    """What to say to a request of too many rows."""
    return Problem(
        "too-many-rows",
        f"`rows` must hold at most {max_rows} rows, but got {count}.",
        "Send fewer rows a request, or use `luban predict` for whole files.",
    )


def read_options(found: Mapping[str, Any] | None, options: type[TaskOptions]) -> TaskOptions | None:
    """The task's options, None where none were given. Raises Problem."""
    if found is None:
        return None
    if _has_more_values(found, MAX_OPTION_VALUES):  # Each may be a mistake that is told.
        raise wrong("/options", f"`options` must hold at most {MAX_OPTION_VALUES} values.")
    try:
        return options.model_validate(found)
    except ValidationError as error:
        faults = [
            {"pointer": "/".join(["/options", *map(str, one["loc"])]), "detail": plain(one["type"], one["msg"])}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        known = ", ".join(f"`{name}`" for name in options.model_fields) or "none for this model"
        raise Problem(
            "wrong-shape",
            "; ".join(f"{one['pointer']}: {one['detail']}" for one in faults),
            f"Options: {known}. See /openapi.json.",
            {"errors": faults},
        ) from None


def wrong(pointer: str, detail: str) -> Problem:
    """What to say to a body of another form; `pointer` is a JSON pointer to the place."""
    return Problem("wrong-shape", detail, _FORM, {"errors": [{"pointer": pointer, "detail": detail}]})


def _has_more_values(value: Any, most: int) -> bool:
    """Whether a value has more than so many inside, at whatever depth."""
    inside, count = [value], 0
    while inside and count <= most:
        one = inside.pop()
        if isinstance(one, (dict, list)):
            count += len(one)
            if count <= most:
                inside.extend(one.values() if isinstance(one, dict) else one)
    return count > most


def faults_of(rows: Sequence[Any], columns: frozenset[str], lists: frozenset[str]) -> list[str | None]:
    """`fault` of each row; the first of them say what was perhaps meant."""
    left, found = MAX_HINTS, []
    for row in rows:
        reason = fault(row, columns, lists, left > 0)
        left -= reason is not None
        found.append(reason)
    return found


def fault(row: Any, columns: frozenset[str], lists: frozenset[str] = frozenset(), hint: bool = True) -> str | None:
    """Why this cannot be asked as a row, or None; `columns` are the schema's, `lists` those that may hold lists.

    `hint`: say what was perhaps meant, which takes time.
    """
    if not isinstance(row, dict):
        return f"a row must be an object of columns, but got {_named(row)}"
    if columns.issuperset(row) and _NESTED.isdisjoint(map(type, row.values())):
        return None
    for name, value in row.items():
        if name not in columns:
            if not hint:
                return f"there is no column `{_short(name)}`"
            close = nearest(name, columns)
            known = f"did you mean `{close}`?" if close else f"columns: {', '.join(sorted(columns))}"
            return f"there is no column `{_short(name)}`; {known}"
        if isinstance(value, (list, dict)) and not (name in lists and isinstance(value, list)):
            return f"{name}: must be text, a number, true, false or null, but got {_named(value)}"
    return None


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:80] + "…"
