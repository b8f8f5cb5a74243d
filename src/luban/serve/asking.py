"""From a request's body to rows, and from a bundle's answers to a response's body.

The one form of a request:  {"rows": [{"column": value, ...}, ...], "options": {...}}
and of a response:          {"model", "version", "identity", "answers": [...], "request_id"}

One answer a row, in order. What is wrong with the body as a whole is a `Problem`; what is wrong with one
row is that row's `{"error": reason}` and stops no other. A column that the bundle's schema does not
have is an error, because a misspelt name would otherwise be a silent missing value. Columns of the
schema that are no inputs (the target, ids) may be sent and are not read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import ValidationError

from luban.catalog import nearest
from luban.serve.problems import Problem
from luban.tasks.base import TaskOptions

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.data.table import Table
    from luban.serve.live import Served

FIELDS = ("rows", "options")
_FORM = 'Send {"rows": [{"column": value, ...}, ...]}, and "options" if you like; see /openapi.json.'


@dataclass(frozen=True)
class Asked:
    """The rows of one request, unchecked, and its options."""

    rows: list[Any]
    options: TaskOptions


@dataclass(frozen=True)
class Answered:
    """A response's body, and what metrics count: rows, row errors, and answers by value."""

    body: bytes
    num_rows: int
    num_errors: int
    values: Counter[str]


def answer(body: bytes, served: Served, max_rows: int, request_id: str) -> Answered:
    """Everything between the two bodies. Raises Problem."""
    asked = read(body, served.bundle, max_rows)
    faults = [fault(row, served.columns, served.lists) for row in asked.rows]
    good = [row for row, reason in zip(asked.rows, faults, strict=True) if reason is None]
    table = served.bundle.predict(good, asked.options) if good else None
    answers, num_errors = _merged(faults, table)
    data = {
        "model": served.name,
        "version": served.version,
        "identity": served.bundle.identity,
        "answers": answers,
        "request_id": request_id,
    }
    # Numbers that do not exist (NaN) become null: JSON has no word for them.
    packed = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY)
    return Answered(packed, len(faults), num_errors, _values(table, served.counted))


def read(body: bytes, bundle: Bundle, max_rows: int) -> Asked:
    """Rows and options of a body. Raises Problem where it is not JSON or not of the one form."""
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
        raise _wrong("", f"The body must be an object, but got {_named(found)}.")
    for name in found:
        if name not in FIELDS:
            close = nearest(name, FIELDS)
            raise _wrong("", f"There is no member `{name}`." + (f" Did you mean `{close}`?" if close else ""))
    rows = found.get("rows")
    if not isinstance(rows, list):
        raise _wrong("/rows", f"`rows` must be a list of objects, but got {_named(rows)}.")
    if len(rows) > max_rows:
        raise Problem(
            "too-many-rows",
            f"`rows` must hold at most {max_rows} rows, but got {len(rows)}.",
            "Send fewer rows a request, or use `luban predict` for whole files.",
        )
    return Asked(rows, _options(found.get("options"), bundle.task.Options))


def _options(found: Any, options: type[TaskOptions]) -> TaskOptions:
    if found is None:
        return options()
    try:
        return options.model_validate(found)
    except ValidationError as error:
        faults = [
            {"pointer": "/".join(["/options", *map(str, one["loc"])]), "detail": one["msg"]}
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        known = ", ".join(f"`{name}`" for name in options.model_fields) or "none for this model"
        raise Problem(
            "wrong-shape",
            "; ".join(f"{one['pointer']}: {one['detail']}" for one in faults),
            f"Options: {known}. See /openapi.json.",
            {"errors": faults},
        ) from None


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem("wrong-shape", detail, _FORM, {"errors": [{"pointer": pointer, "detail": detail}]})


def fault(row: Any, columns: frozenset[str], lists: frozenset[str] = frozenset()) -> str | None:
    """Why this cannot be asked as a row, or None; `columns` are the schema's, `lists` those that may hold lists."""
    if not isinstance(row, dict):
        return f"a row must be an object of columns, but got {_named(row)}"
    for name, value in row.items():
        if name not in columns:
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


def _merged(faults: list[str | None], table: Table | None) -> tuple[list[dict[str, Any]], int]:
    """Answers and faults in the order of the rows, and how many rows have an error."""
    given = table.rows() if table is not None else []
    bad = sum(1 for error in table.errors if error is not None) if table is not None else 0
    num_faults = len(faults) - faults.count(None)
    if len(given) + num_faults != len(faults):
        raise AssertionError(f"{len(faults) - num_faults} rows were asked, but {len(given)} were answered")
    if not num_faults:
        return given, bad
    rest = iter(given)
    return [next(rest) if reason is None else {"error": reason} for reason in faults], bad + num_faults


def _values(table: Table | None, column: str | None) -> Counter[str]:
    if table is None or column is None:
        return Counter()
    given = [v for v, error in zip(table.columns[column], table.errors, strict=True) if error is None]
    return Counter(str(one) for v in given for one in (v if isinstance(v, list) else [v]))
