"""The application: raw ASGI, no framework. It puts the parts together, and answers what is about the server itself.

    POST /v1/predict and what else asks a model: `predicting.py`, by way of `desk.py`
    GET /v1/model   GET /openapi.json   GET /metrics   GET /   (API key, if one is set)
    GET /health   GET /ready                                    (open to all)

`/` without the key is a page that tells nothing about the model. This module knows no task and no
column type, and not how bundles are loaded.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from luban.serve.config import ServeConfig
from luban.serve.fleet.fleet import Fleet
from luban.serve.fleet.models import Models, readiness, unready
from luban.serve.fleet.waking import LATER
from luban.serve.guards.door import Door
from luban.serve.guards.shedding import overloaded
from luban.serve.http import about
from luban.serve.http.local import check_local
from luban.serve.http.openapi import model_facts, openapi
from luban.serve.http.page import Asked, page
from luban.serve.http.page import headers as page_headers
from luban.serve.http.page_words import language_of
from luban.serve.http.predicting import Predicting, entry_of
from luban.serve.http.problems import MOST_TRIES, NotYet, Problem
from luban.serve.http.refusing import Refusal
from luban.serve.http.routes import Halves, Route, Router
from luban.serve.http.wire import Disconnected, Receive, Request, Response, Scope, Send, new_id, respond
from luban.serve.inference.v2 import OpenInference
from luban.serve.jobs.jobs import Jobs
from luban.serve.office import Office
from luban.serve.processes.companions import companions_of
from luban.serve.watch.accounts import CLIENT_WENT_AWAY, Accounts

if TYPE_CHECKING:
    from luban.serve.question import Caller
    from luban.store.home import Home

LOG = logging.getLogger("luban.serve")
_REFUSED = overloaded()


class App:
    """One ASGI application: answers with what `fleet` holds. Runs on one event loop.

    `home` is the project's state; None for a bundle that is served from a folder, which has none.
    """

    def __init__(self, fleet: Fleet, config: ServeConfig, door: Door, home: Home | None = None) -> None:
        self._fleet = fleet
        self._config = config
        self._door = door
        self.draining = False
        """Set when the server was told to stop: it still answers, but is not ready for more."""
        self._office = office = Office(fleet, config, home, door)
        self.metrics, self.guarding, self.desk = office.metrics, office.guarding, office.desk
        self.accounts = Accounts(self.metrics, config.log, config.trace)
        own = (Predicting(self.desk, config), Models(fleet), OpenInference(self.desk, config))
        self._jobs = Jobs(self.desk, config, home, self.guarding.limits)
        self.metrics.add_slow(self._jobs.samples)
        groups = (*own, self._jobs, office.deployed.paths, *office.learning.groups(self.desk))
        self.companions = companions_of(config, office, door, self.accounts, home)
        self.is_full = self.guarding.shedding.is_full
        """Whether a question that comes now is sent away."""
        self._refusal = Refusal(_REFUSED.response)
        self.router = Router([*(route for group in groups for route in group.routes()), *self._own_routes()])

    def _own_routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/model", self._model, "viewer", about.MODEL),
            Route("GET", "/openapi.json", self._openapi, "viewer", about.OPENAPI),
            Route("GET", "/metrics", self._figures, None if self._config.open_metrics else "viewer", about.FIGURES),
            Route("GET", "/health", self._health, None, about.HEALTH),
            Route("GET", "/ready", self._ready, None, about.READY),
            Route("GET", "/", self._page, None, about.PAGE),
        ]

    def close(self) -> None:
        """End the threads; requests that wait for one are dropped."""
        self._office.close()
        self._jobs.close()
        self.accounts.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request; never raises for what a client does."""
        if scope["type"] != "http":
            raise AssertionError(f"this application answers HTTP only, not {scope['type']}")
        started = time.perf_counter()
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except Disconnected:
            status = CLIENT_WENT_AWAY
        else:
            status = response.status
            await respond(response, request, send)
        self.account(request, status, time.perf_counter() - started)

    def account(self, request: Request, status: int, seconds: float) -> None:
        """Count and log one request, whichever way it came (`direct.py` calls this, too)."""
        self.accounts.end(request, status, seconds)

    async def _respond(self, request: Request) -> Response:
        for number in range(1, MOST_TRIES + 1):
            try:
                route = self.enter(request)
                return route if isinstance(route, Response) else await route.handler(request)
            except Disconnected:
                raise
            except Exception as error:
                if number == MOST_TRIES or not isinstance(error, NotYet):
                    return self.failed(error, request)
                try:
                    await error.ready()
                except Problem as problem:
                    return self.failed(problem, request)
        raise AssertionError("the last try gives an answer")

    def failed(self, error: Exception, request: Request) -> Response:
        """What to answer where something was raised."""
        if not isinstance(error, Problem):
            fields = {"path": unquote(request.path), "request_id": request.id}
            LOG.error("request failed", extra={"fields": fields}, exc_info=error)
            todo = f"Look for request_id {request.id} in the server's log."
            error = Problem("internal", "An error inside the server; it is in its log.", todo)
        self.metrics.problem(error.kind)
        if request.path.startswith("/v2/"):  # the member that this protocol's clients show
            error.extra.setdefault("error", f"{error.detail} {error.todo}")
        return error.response(request.id)

    def halves_of(self, path: str) -> Halves | None:
        """How a POST to this path is answered without a task, if it is."""
        route = self.router.route_of(path)
        return route.halves if route is not None else None

    def refusal(self, path: str, request_id: str) -> bytes | None:
        """Send a question away that was not read: what follows the status; None where this path asks no model."""
        route = self.router.route_of(path)
        if route is None:
            return None
        self.guarding.shedding.sent_away()
        self.accounts.sent_away(route.path, _REFUSED.kind)
        return self._refusal.bytes(request_id or new_id())

    @property
    def max_body_bytes(self) -> int:
        """Largest body of a request."""
        return self._config.max_body_bytes

    def enter(self, request: Request) -> Route | Response:
        """The route of a request whose caller was let in, or the answer to OPTIONS. Raises Problem."""
        self.accounts.begin(request)
        if request.doubled:
            raise Problem("bad-request", f"The header {request.doubled} came twice.", "Send it once.")
        route = self.router.find(request)
        if isinstance(route, Response):
            return route
        request.route = route.path
        if route.role is not None:
            if not request.is_let_in:
                request.caller, request.is_let_in = self._let_in(request), True
            if not request.caller.may(route.role):
                detail = f"This takes the role {route.role}, but {request.caller.name} is {request.caller.role}."
                raise Problem("not-allowed", detail, "Ask for a key of that role.")
        return route

    def _let_in(self, request: Request) -> Caller:
        caller = self._door.enter(request.header("authorization"), request.header("x-api-key"))
        check_local(request, caller)
        return caller

    def _known(self, request: Request) -> Caller | None:
        """Whoever asks for what is open to all, if it would be let in elsewhere."""
        try:
            return self._let_in(request)
        except Problem:
            return None

    async def _health(self, request: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        reason = self._fleet.unready() or self.guarding.unready()
        if reason:
            raise unready(reason, self._known(request))
        if self.draining:
            raise Problem("stopping", "The server was told to stop; it still answers.", "Ask another.", None, LATER)
        return _json(readiness(self._fleet, self._known(request)))

    async def _model(self, request: Request) -> Response:
        return _json(model_facts(await self._fleet.served(entry_of(request, self.desk).model)))

    async def _openapi(self, request: Request) -> Response:
        names = [name for name in self._fleet.names() if request.caller.may_ask(name)]
        asked = request.query.get("model") or next(iter(names), "")
        if not request.caller.may_ask(self._fleet.live(asked).name):
            raise Problem("not-allowed", f"{request.caller.name} may not ask that model.", "Ask for a key that may.")
        served = await self._fleet.served(asked)
        return _json(openapi(served, self.router.routes, names, bool(self._door)))

    async def _figures(self, request: Request) -> Response:
        body, media_type = await self.metrics.scrape(request.header("accept"))
        return Response(body, media_type=media_type)

    async def _page(self, request: Request) -> Response:
        live = self._fleet.live()
        caller = self._known(request)
        locked = caller is None or not caller.may_ask(live.name)
        if not locked and live.state == "idle":
            await self._fleet.served()
        scheme = "http" if self._config.tls is None else "https"
        language = language_of(request.header("accept-language"), request.query.get("lang", ""))
        asked = Asked(request.header("host"), language, bool(self._door), locked, scheme)
        body = page(live.now, live.reason, asked)
        return Response(body, media_type="text/html; charset=utf-8", headers=page_headers(language))


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY))
