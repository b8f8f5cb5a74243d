"""What OpenAPI says of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.serve.http.operations import TEXT, WHOLE, YES_OR_NO, Body, Json, Operation, list_of, object_of, or_null, ref
from luban.serve.http.predicting import STICKY
from luban.serve.jobs.job_files import FORMS

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

STATUSES = ("waiting", "running", "done", "failed", "cancelled")
_JOB = object_of(
    {
        "id": TEXT,
        "model": TEXT,
        "version": WHOLE,
        "status": {"enum": list(STATUSES)},
        "progress": {"type": "number", "minimum": 0, "maximum": 1},
        "counts": {"type": "object", "additionalProperties": WHOLE},
        "error": or_null(TEXT),
        "attempts": WHOLE,
        "max_attempts": WHOLE,
        "cancelling": YES_OR_NO,
        "created": TEXT,
        "started": or_null(TEXT),
        "ended": or_null(TEXT),
        "result": or_null(TEXT),
    }
)
_ROWS: Json = object_of(
    {
        "rows": list_of(ref("Row")),
        "options": or_null(ref("Options")),
        "model": TEXT,
        "version": or_null({"type": "integer", "minimum": 1, "maximum": 999_999_999}),
        "sticky": TEXT,
    },
    required=["rows"],
)
_ANSWERS = object_of(
    {
        "model": TEXT,
        "version": WHOLE,
        "identity": TEXT,
        "answers": list_of({"oneOf": [ref("Answer"), ref("RowError")]}),
    }
)
_PART: Json = {"job": {"type": "string", "pattern": "^[0-9a-f]{32}$"}}


def _example(served: Served) -> Any:
    rows = served.bundle.example_rows()[:2]
    return {"rows": rows} if rows else None


SUBMIT = Operation(
    "Hand in a file or rows, to be answered in the background.",
    takes=(
        Body(_ROWS, FORMS[0].media_types[0], _example),
        *(Body(None, form.media_types[0]) for form in FORMS[1:]),
    ),
    gives=Body(_JOB),
    status=202,
    query={
        "model": TEXT,
        "version": {"type": "string", "pattern": "^[0-9]{1,9}$"},
        "format": {"enum": [form.name for form in FORMS]},
        "options": {"type": "string", "description": "Options of the task as JSON, for files."},
        "sticky": {"type": "string", "description": "Column whose equal values are answered by one version."},
    },
    headers={STICKY: TEXT, "Idempotency-Key": {"type": "string", "maxLength": 255}},
    problems=(400, 404, 408, 413, 415, 422, 429, 503),
)
LISTED = Operation(
    "The caller's jobs, newest first; an operator sees all.",
    gives=Body(object_of({"jobs": list_of(_JOB)})),
    query={"status": {"enum": list(STATUSES)}},
    problems=(400, 404, 503),
)
SHOWN = Operation("One job: status, progress, counts.", gives=Body(_JOB), parts=_PART, problems=(404, 503))
CANCEL = Operation("Stop a job; one that has ended stays as it is.", gives=Body(_JOB), parts=_PART, problems=(404, 503))
RETRY = Operation(
    "Let a job that failed or was cancelled wait again.", gives=Body(_JOB), parts=_PART, problems=(404, 409, 503)
)
RESULT = Operation(
    "What a job gave: a file in the form that was asked for, or answers as JSON.",
    gives=(Body(_ANSWERS), *(Body(None, form.media_types[0]) for form in FORMS[1:])),
    parts=_PART,
    problems=(404, 409, 503),
)
