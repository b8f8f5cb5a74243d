"""The review queue over HTTP, for people who label (role operator): list, take, decide, drop. See `review_queue.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from luban.errors import BadValue
from luban.serve.http.operations import NUMBER, TEXT, WHOLE, Body, Json, Operation, list_of, object_of, or_null, ref
from luban.serve.http.predicting import body_of, check_type
from luban.serve.http.problems import Problem
from luban.serve.http.routes import Route
from luban.serve.http.wire import Request, Response
from luban.serve.learning.clerk import Clerk
from luban.serve.learning.feedback import json_of, ledger_of
from luban.serve.learning.review_queue import MAX_LISTED, Held, NotThere, ReviewQueue
from luban.serve.learning.review_rows import STATUSES

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.learning.judges import Judges
    from luban.store.ledger import Ledger

T = TypeVar("T")
MAX_TAKEN = 100
_REVIEW = object_of(
    {
        "id": TEXT,
        "model": TEXT,
        "version": WHOLE,
        "time": NUMBER,
        "reasons": list_of(TEXT),
        "row": ref("Row"),
        "answer": {"type": "object"},
        "confidence": or_null(NUMBER),
        "status": {"enum": list(STATUSES)},
        "taken_by": or_null(TEXT),
        "taken_until": or_null(NUMBER),
        "truth": {},
        "decided_by": or_null(TEXT),
        "decided": or_null(TEXT),
    }
)
_MODEL = {"model": TEXT}
_PROBLEMS = (404, 503)
LIST = Operation(
    "Rows that a person should look at, the oldest first.",
    gives=Body(object_of({"reviews": list_of(_REVIEW), "counts": {"type": "object"}})),
    query={**_MODEL, "status": {"enum": list(STATUSES)}, "limit": WHOLE | {"minimum": 1, "maximum": MAX_LISTED}},
    problems=(400, *_PROBLEMS),
)
SHOW = Operation("One row of the queue.", gives=Body(_REVIEW), problems=_PROBLEMS)
TAKE_NEXT = Operation(
    "Have the oldest open rows for a while, so that nobody else decides them.",
    takes=Body(object_of({"count": WHOLE | {"minimum": 1, "maximum": MAX_TAKEN}}, [])),
    gives=Body(object_of({"reviews": list_of(_REVIEW)})),
    query=_MODEL,
    problems=(400, 408, 413, 415, 422, *_PROBLEMS),
)
TAKE = Operation("Have this row for a while.", gives=Body(_REVIEW), problems=(*_PROBLEMS, 409))
DECIDE = Operation(
    "Say what is true; it becomes feedback.",
    takes=Body(object_of({"truth": {}})),
    gives=Body(_REVIEW),
    problems=(400, 408, 409, 413, 415, 422, *_PROBLEMS),
)
DROP = Operation("Nothing is to be learnt from this row.", gives=Body(_REVIEW), problems=(*_PROBLEMS, 409))


class Reviewing:
    """The handlers of the review queue."""

    def __init__(self, fleet: Fleet, config: ServeConfig, ledger: Ledger | None, judges: Judges, clerk: Clerk) -> None:
        self._fleet = fleet
        self._config = config
        self._ledger = ledger
        self._judges = judges
        self._clerk = clerk

    def routes(self) -> list[Route]:
        """What this file answers."""
        return [
            Route("GET", "/v1/reviews", self.list, "operator", LIST),
            Route("POST", "/v1/reviews/take", self.take_next, "operator", TAKE_NEXT),
            Route("GET", "/v1/reviews/{id}", self.show, "operator", SHOW),
            Route("POST", "/v1/reviews/{id}/take", self.take, "operator", TAKE),
            Route("POST", "/v1/reviews/{id}/decide", self.decide, "operator", DECIDE),
            Route("POST", "/v1/reviews/{id}/drop", self.drop, "operator", DROP),
        ]

    async def list(self, request: Request) -> Response:
        """Rows of one status, the oldest first, and how many have each."""
        model, query = self._model(request), request.query
        status, limit = query.get("status", STATUSES[0]), query.get("limit", "100")
        number = int(limit) if limit.isdecimal() and len(limit) < 10 else 0
        if status not in STATUSES or not 1 <= number <= MAX_LISTED:
            detail = f"`status` must be one of {', '.join(STATUSES)}, and `limit` 1 to {MAX_LISTED}."
            raise Problem("bad-request", detail, "Mend the query.")
        found = await self._do(lambda queue: (queue.listed(model, status, number), queue.counts(model)))
        return _json({"reviews": [one.to_json() for one in found[0]], "counts": found[1]})

    async def show(self, request: Request) -> Response:
        """One row."""
        return await self._one(request, lambda queue, id: queue.get(id))

    async def take_next(self, request: Request) -> Response:
        """Have the oldest open rows for a while."""
        model = self._model(request)
        body = await self._body(request, ("count",))
        count = body.get("count", 1)
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_TAKEN:
            raise _wrong("/count", f"`count` must be a number from 1 to {MAX_TAKEN}.")
        found = await self._do(lambda queue: queue.take_next(model, request.caller.name, count))
        return _json({"reviews": [one.to_json() for one in found]})

    async def take(self, request: Request) -> Response:
        """Have this row for a while."""
        return await self._one(request, lambda queue, id: queue.take(id, request.caller.name))

    async def decide(self, request: Request) -> Response:
        """Say what is true."""
        body = await self._body(request, ("truth",))
        model = (await self._do(lambda queue: queue.get(request.parts["id"]))).model
        await self._judges.ready(model)

        def decided(queue: ReviewQueue, id: str) -> Any:
            try:
                truth, _ = self._judges.read(model, body.get("truth"))
            except BadValue as error:
                raise _wrong("/truth", f"truth: {error.message}.") from None
            return queue.decide(id, truth, request.caller.name, self._judges)

        return await self._one(request, decided)

    async def drop(self, request: Request) -> Response:
        """Nothing is to be learnt from this row."""
        return await self._one(request, lambda queue, id: queue.drop(id, request.caller.name))

    async def _one(self, request: Request, work: Callable[[ReviewQueue, str], Any]) -> Response:
        """Do something with the row that the path names, if its model is the caller's to ask."""
        id = request.parts["id"]

        def allowed(queue: ReviewQueue) -> Any:
            if not request.caller.may_ask(queue.get(id).model):
                raise NotThere(f"There is no row `{id[:200]}` in the queue.")
            return work(queue, id)

        return _json((await self._do(allowed)).to_json())

    async def _do(self, work: Callable[[ReviewQueue], T]) -> T:
        queue = ReviewQueue(ledger_of(self._ledger), self._config.review.lease_s)
        try:
            return await self._clerk.do(lambda: work(queue))
        except NotThere as error:
            raise Problem("no-such-review", error.message, "List those that are: GET /v1/reviews.") from error
        except Held as error:
            raise Problem("held", error.message, error.hint) from error

    def _model(self, request: Request) -> str:
        model = self._fleet.live(request.query.get("model", "")).name
        if not request.caller.may_ask(model):
            raise Problem("not-allowed", f"{request.caller.name} may not ask the model `{model}`.", "Ask for a key.")
        return model

    async def _body(self, request: Request, members: tuple[str, ...]) -> Json:
        """The members of a body; none where it is empty."""
        body = await body_of(request, self._config)
        if not body:
            return {}
        check_type(request)
        found = json_of(body)
        if not isinstance(found, dict) or any(name not in members for name in found):
            raise _wrong("", f"The body must be an object of {', '.join(members)} alone.")
        return found


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem("wrong-shape", detail, "See /openapi.json.", {"errors": [{"pointer": pointer, "detail": detail}]})


def _json(data: Json) -> Response:
    return Response(orjson.dumps(data, default=str))
