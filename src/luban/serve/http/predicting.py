"""`/v1/predict` and `/v1/models/{model}/predict`: rows as JSON, or as a form with files."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from luban.serve.config import ServeConfig
from luban.serve.desk import Admission, Desk, Pending
from luban.serve.http.asking import read, write
from luban.serve.http.forms import MEDIA_TYPE as FORM
from luban.serve.http.forms import check_form, is_form, read_form
from luban.serve.http.operations import NUMBER, TEXT, WHOLE, Body, Json, Operation, ref
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response, TooLarge
from luban.serve.question import Entry

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served

STICKY, TIMEOUT = "x-sticky-key", "x-timeout-ms"


def _asked(served: Served) -> Json | None:
    rows = served.bundle.example_rows()[:2]
    return {"rows": rows} if rows else None


def _answered(served: Served) -> Json | None:
    rows = served.bundle.example_rows()[:2]
    if not rows:
        return None
    return {
        "model": served.name,
        "version": served.version,
        "identity": served.bundle.identity,
        "answers": served.bundle.predict(rows).rows(),
        "request_id": "0123456789abcdef0123456789abcdef",
    }


DESCRIBED = Operation(
    "One answer a row, in order; a bad row gets an error and stops no other.",
    takes=(Body(ref("Request"), example=_asked), Body(ref("Form"), FORM)),
    gives=Body(ref("Response"), example=_answered),
    headers={STICKY: TEXT, TIMEOUT: NUMBER | {"exclusiveMinimum": 0}},
    problems=(400, 408, 413, 415, 422, 429, 500, 503, 504),
)
VERSION_PATH = "/v1/models/{model}/versions/{version}/predict"
NUMBERED = replace(
    DESCRIBED,
    summary="The same of one version, whoever answers now; one that answers nobody may have to be loaded.",
    parts={"version": WHOLE | {"minimum": 1}},
    problems=(*DESCRIBED.problems, 403, 404),
)


class Predicting:
    """The handlers of the one form of this server."""

    def __init__(self, desk: Desk, config: ServeConfig) -> None:
        self._desk = desk
        self._config = config

    def routes(self) -> list[Route]:
        """What this file answers."""
        return [
            Route("POST", "/v1/predict", self.predict, describe=DESCRIBED, halves=self),
            Route("POST", "/v1/models/{model}/predict", self.predict, describe=DESCRIBED, halves=self),
            Route("POST", VERSION_PATH, self.predict, describe=NUMBERED, halves=self),
        ]

    async def predict(self, request: Request) -> Response:
        """One answer a row."""
        asked = self.enter(request)
        try:
            await asyncio.wait([self.begin(request, asked, await body_of(request, self._config))])
            return self.end(request, asked)
        finally:
            asked.leave()

    def enter(self, request: Request) -> Asked:
        """Look at the head. Raises Problem."""
        form = is_form(request)
        (check_form if form else check_type)(request)
        entry = entry_of(request, self._desk)
        deadline = deadline_of(request)
        return Asked(entry, deadline, form, self._desk.admit(entry))

    def begin(self, request: Request, asked: Asked, body: bytes) -> asyncio.Future[Any]:
        """Ask the desk. Raises Problem."""
        config = self._config
        if asked.form:
            content_type = request.header("content-type")
            question = read_form(content_type, body, asked.entry, config.max_rows, config.max_parts)
        else:
            question = read(body, asked.entry, config.max_rows)
        question.sticky = request.header(STICKY)
        question.deadline = asked.deadline
        if "version" in request.parts:
            question.version = version_of(request.parts["version"], asked.entry.model)
        asked.pending = self._desk.begin(question)
        return asked.pending.future

    def end(self, request: Request, asked: Asked) -> Response:
        """The answer. Raises what the desk raises."""
        assert asked.pending is not None
        return Response(write(self._desk.finish(asked.pending), request.id))


@dataclass(slots=True)
class Asked:
    """A request that was let in, and what the desk has begun for it."""

    entry: Entry
    deadline: float
    form: bool
    admission: Admission
    pending: Pending | None = None

    def leave(self) -> None:
        """Tell all guards."""
        self.admission.leave()


def entry_of(request: Request, desk: Desk) -> Entry:
    """Who asks which model. Raises Problem where there is no such model, or it is not theirs to ask."""
    model = desk.fleet.live(request.parts.get("model", "")).name
    if not request.caller.may_ask(model):
        detail = f"{request.caller.name} may not ask the model `{model}`."
        raise Problem("not-allowed", detail, "Ask for a key that may.")
    return Entry(request.caller, model, request.id, request.num_bytes, request.track)


def version_of(text: str, model: str) -> int:
    """The number of a version, as a path states it. Raises Problem where it is none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        detail = f"A version is a whole number, but got {text[:40]} for `{model}`."
        raise Problem("no-such-version", detail, "See /v1/models.")
    return int(text)


def deadline_of(request: Request) -> float:
    """When nobody waits any more, by `time.monotonic`. Raises Problem where the header is no number."""
    text = request.header(TIMEOUT)
    if not text:
        return math.inf
    try:
        timeout_ms = float(text)
    except ValueError:
        timeout_ms = math.nan
    if not timeout_ms > 0:
        detail = f"The header {TIMEOUT} must be milliseconds above 0, but got {text[:40]}."
        raise Problem("bad-request", detail, "Send a number, or leave it out.")
    return time.monotonic() + timeout_ms / 1000


async def body_of(request: Request, config: ServeConfig) -> bytes:
    """The whole body, within the limits. Raises Problem, Disconnected."""
    limit, timeout_s = config.max_body_bytes, config.body_timeout_s
    # What is left of an unread body must not be taken for the next request.
    closing = {"connection": "close"}
    try:
        return await request.body(limit, timeout_s)
    except TooLarge:
        detail = f"The body must have at most {limit} bytes."
        raise Problem("too-large", detail, "Send fewer rows a request.", {"max_bytes": limit}, closing) from None
    except TimeoutError:
        detail = f"The body was not complete after {timeout_s:g} s."
        raise Problem("too-slow", detail, "Send fewer rows a request.", None, closing) from None


def check_type(request: Request) -> None:
    """Only JSON is read: a foreign page in a browser cannot send that without being asked first."""
    content_type = request.header("content-type")
    if content_type == "application/json" and not request.header("content-encoding"):
        return
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        detail = f"The content type must be application/json, but got {media_type.strip()[:80] or 'none'}."
        raise Problem("not-json-type", detail, "Send the header `Content-Type: application/json`.")
    coding = request.header("content-encoding")
    if coding.lower() not in ("", "identity"):
        detail = f"The body must not be encoded, but got {coding[:80]}."
        raise Problem("not-json-type", detail, "Send it without compression.")
