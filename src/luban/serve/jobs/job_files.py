"""Which files a job may be asked with, and which it may answer with: media types, endings and their sinks.

Rows as JSON are one of them: a body like that of `/v1/predict`, answered by a body like its response.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from luban.serve.http.problems import Problem

KIND = "predict"
INPUT, OUTPUT, MARK = "input", "answers", "job"

ROWS = "rows"
FORM = 'Send {"rows": [{"column": value, ...}, ...]}, and "model", "version", "options" or "sticky" if you like.'


@dataclass(frozen=True)
class Request:
    """What a job asks, as it stands in the ledger. `tree` is the store's name of the folder that holds the file.

    `version` is the first that answers; `plan` is who shares the rows, as that was when the job was handed in
    (`origins.Plan`, as JSON), None where the one version answers all, because it was named. `sticky` is the column that
    keeps equal rows at one version, `sticky_key` a key that keeps all there; "" for none. `insists`: the version was
    named by one who may ask any, whether it answers others or not.
    """

    tree: str
    model: str
    version: int
    asked: str
    answered: str
    options: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None
    sticky: str = ""
    sticky_key: str = ""
    insists: bool = False


@dataclass(frozen=True)
class Form:
    """A form of files: its name in `?format=`, its ending, its media types, the first of which is told."""

    name: str
    ending: str
    media_types: tuple[str, ...]


FORMS = (
    Form(ROWS, ".json", ("application/json",)),
    Form("csv", ".csv", ("text/csv", "application/csv")),
    Form("tsv", ".tsv", ("text/tab-separated-values",)),
    Form("jsonl", ".jsonl", ("application/x-ndjson", "application/jsonl", "application/jsonlines")),
    Form("parquet", ".parquet", ("application/vnd.apache.parquet", "application/x-parquet", "application/parquet")),
    Form("xlsx", ".xlsx", ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",)),
)
_BY_TYPE = {media_type: form for form in FORMS for media_type in form.media_types}
_BY_NAME = {form.name: form for form in FORMS}


def form_of_type(content_type: str) -> Form:
    """The form that a Content-Type names. Raises Problem."""
    media_type = content_type.partition(";")[0].strip().lower()
    found = _BY_TYPE.get(media_type)
    if found is None:
        detail = f"The content type must be one of {', '.join(_BY_TYPE)}, but got {media_type[:80] or 'none'}."
        hint = " Forms (multipart) are for /v1/predict alone." if media_type.startswith("multipart/") else ""
        raise Problem("not-json-type", detail, f"Send the file itself as the body, with its own content type.{hint}")
    return found


def form_named(name: str) -> Form:
    """The form that `?format=` names. Raises Problem."""
    found = _BY_NAME.get(name)
    if found is None:
        detail = f"`format` must be one of {', '.join(_BY_NAME)}, but got {name[:80]}."
        raise Problem("bad-request", detail, "Leave it out to get the form that was sent.")
    return found


def answered_in(asked: Form, wanted: str) -> Form:
    """The form of the result. Raises Problem: rows as JSON are answered as JSON, files as files."""
    found = form_named(wanted) if wanted else asked
    if (found.name == ROWS) != (asked.name == ROWS):
        detail = f"A body of {asked.media_types[0]} cannot be answered as {found.media_types[0]}."
        raise Problem("bad-request", detail, "Rows as JSON are answered as JSON, files as files.")
    return found


def body_in(path: Path) -> dict[str, Any]:
    """Rows as JSON, with what may stand beside them. Raises Problem."""
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise Problem("not-json", f"At character {error.pos}: {error.msg}.", FORM) from None
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
        raise Problem("wrong-shape", "The body must be an object with a list `rows`.", FORM)
    more = found.keys() - {"rows", "options", "model", "version", "sticky", "explain"}
    if more:
        raise Problem("wrong-shape", f"There is no member `{min(more)[:80]}`.", FORM)
    for name in ("model", "sticky"):
        if not isinstance(found.get(name, ""), str):
            raise Problem("wrong-shape", f"`{name}` must be text.", FORM)
    if found.get("explain", False) is not False:
        raise no_reasons()
    return found


def no_reasons() -> Problem:
    """What to say to one who asks for reasons."""
    todo = 'Leave `explain` out, and ask /v1/predict with "explain": true for the rows whose reasons you need.'
    return Problem("bad-request", "A job gives no reasons: they would take many times as long as its answers.", todo)


def options_in(text: str) -> dict[str, Any] | None:
    """The options that `?options=` states. Raises Problem."""
    if not text:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Problem("bad-request", "`options` must be a JSON object.", 'Send ?options={"name":value}.')
    return found
