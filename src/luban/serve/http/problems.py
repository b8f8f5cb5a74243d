"""What can be wrong with a request, as RFC 9457 problem details.

`type` is stable for ever (`urn:luban:problem:<kind>`), `title` is its sentence, `detail` says what was
found in this request, `todo` what to do. Nothing of the server's inside is ever told.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import orjson

from luban.serve.http.wire import Response

KINDS: dict[str, tuple[int, str]] = {
    "not-json": (400, "The body is not JSON."),
    "bad-request": (400, "The request cannot be read."),
    "no-key": (401, "An API key is needed."),
    "not-allowed": (403, "This caller may not do that."),
    "no-such-path": (404, "There is nothing at this path."),
    "no-such-model": (404, "There is no such model."),
    "no-such-job": (404, "There is no such job."),
    "no-such-review": (404, "There is no such row in the review queue."),
    "no-such-version": (404, "There is no such version of this model."),
    "no-jobs": (404, "This server takes no jobs."),
    "wrong-method": (405, "This path does not answer this method."),
    "too-slow": (408, "The body came too slowly."),
    "held": (409, "Somebody else has this row, or it is decided."),
    "not-now": (409, "That cannot be done now."),
    "too-large": (413, "The body is too large."),
    "too-many-rows": (413, "There are too many rows in one request."),
    "too-many-pixels": (413, "There are too many pixels in one request."),
    "not-json-type": (415, "The body must be sent as JSON."),
    "wrong-shape": (422, "The body can be read, but is not what this model is asked with."),
    "key-was-used": (422, "This Idempotency-Key came with something else before."),
    "too-many-jobs": (429, "Too many jobs of this caller wait."),
    "too-many-requests": (429, "This caller asks too much."),
    "internal": (500, "The server failed to answer."),
    "no-model": (503, "No model is loaded yet."),
    "no-ledger": (503, "The ledger cannot be used now."),
    "no-provider": (503, "Tokens cannot be checked now."),
    "stopping": (503, "The server is about to stop."),
    "busy": (503, "Too many requests are waiting."),
    "overloaded": (503, "The server has as much to do as it can."),
    "no-limits": (503, "Limits cannot be looked up now."),
    "model-failing": (503, "The model fails, and is not asked for a moment."),
    "model-hangs": (504, "The model did not answer in time."),
    "too-late": (504, "The answer would come too late."),
}
MEDIA_TYPE = "application/problem+json"
Extra = Mapping[str, str | int | list[dict[str, str]]]


class Problem(Exception):
    """Why a request gets no answer. `kind` is one of KINDS; `extra` adds members to the body."""

    def __init__(
        self,
        kind: str,
        detail: str,
        todo: str,
        extra: Extra | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.todo = todo
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind][0]

    def response(self, request_id: str) -> Response:
        """The problem as it goes to the client."""
        status, title = KINDS[self.kind]
        body = {
            "type": f"urn:luban:problem:{self.kind}",
            "title": title,
            "status": status,
            "detail": self.detail,
            "todo": self.todo,
            **self.extra,
            "request_id": request_id,
        }
        return Response(orjson.dumps(body), status, MEDIA_TYPE, self.headers)


MOST_TRIES = 5
"""How often a request is begun: a provider's keys, a token's use and two limits may have to be fetched first."""


class NotYet(Problem):
    """Something must be fetched first: `await ready()`, then ask again. Whoever does not wait sends the client away.

    Raised before a body is read or a question is asked, so that the whole request may be begun anew.
    """

    def __init__(self, instead: Problem, ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(instead.kind, instead.detail, instead.todo, instead.extra, instead.headers)
        self.ready = ready
