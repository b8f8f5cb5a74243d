"""The application: routes over raw ASGI, no framework.

    POST /v1/predict   GET /v1/model   GET /openapi.json   GET /metrics   GET /   (API key, if one is set)
    GET /health   GET /ready                                                     (open to all)

Small requests are answered at once on the event loop (one row costs less than a switch of threads);
larger ones in a few threads, so that health stays answered; when too many wait, more are sent away.
`/` without the key is a page that tells nothing about the model. This module knows no task and no
column type, and not how bundles are loaded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import orjson

from luban.catalog import nearest
from luban.serve.asking import Answered, answer
from luban.serve.config import ServeConfig
from luban.serve.keys import Keys
from luban.serve.live import LiveBundle, Served
from luban.serve.metrics import Metrics
from luban.serve.openapi import model_facts, openapi
from luban.serve.page import HEADERS as PAGE_HEADERS
from luban.serve.page import page
from luban.serve.problems import Problem
from luban.serve.wire import Disconnected, Receive, Request, Response, Scope, Send, TooLarge, respond

LOG = logging.getLogger("luban.serve")
SMALL_BYTES = 16 * 1024
SMALL_ROWS = 8
CLIENT_WENT_AWAY = 499
Handler = Callable[[Request], Awaitable[Response]]


class App:
    """One ASGI application: answers with what `live` holds. Runs on one event loop."""

    def __init__(self, live: LiveBundle, config: ServeConfig, keys: Keys) -> None:
        self._live = live
        self._config = config
        self._keys = keys
        self._metrics = Metrics(live)
        self._threads = ThreadPoolExecutor(config.num_threads, thread_name_prefix="luban-predict")
        self._waiting = 0
        # path: (method, handler, open to all)
        self._routes: dict[str, tuple[str, Handler, bool]] = {
            "/v1/predict": ("POST", self._predict, False),
            "/v1/model": ("GET", self._model, False),
            "/openapi.json": ("GET", self._openapi, False),
            "/metrics": ("GET", self._figures, config.open_metrics),
            "/health": ("GET", self._health, True),
            "/ready": ("GET", self._ready, True),
            "/": ("GET", self._page, True),
        }

    def close(self) -> None:
        """End the threads; requests that wait for one are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
        self._account(request, status, time.perf_counter() - started)

    def _account(self, request: Request, status: int, seconds: float) -> None:
        self._metrics.request(request.path if request.path in self._routes else "(other)", status, seconds)
        if self._config.access_log:
            fields = {"method": request.method, "path": request.path, "status": status}
            fields |= {"ms": round(seconds * 1000, 3), "request_id": request.id}
            LOG.info("request", extra={"fields": fields})

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except Problem as problem:
            return problem.response(request.id)
        except Disconnected:
            raise
        except Exception:
            LOG.exception("request failed", extra={"fields": {"path": request.path, "request_id": request.id}})
            todo = f"Look for request_id {request.id} in the server's log."
            return Problem("internal", "An error inside the server; it is in its log.", todo).response(request.id)

    async def _route(self, request: Request) -> Response:
        if request.path not in self._routes:
            close = nearest(request.path, self._routes)
            todo = f"Did you mean `{close}`?" if close else f"Paths: {', '.join(self._routes)}."
            raise Problem("no-such-path", "This server does not have that path.", todo)
        method, handler, is_open = self._routes[request.path]
        allowed = f"{method}, HEAD, OPTIONS" if method == "GET" else f"{method}, OPTIONS"
        if request.method == "OPTIONS":
            return Response(b"", 204, headers={"allow": allowed})
        if request.method not in allowed.split(", "):
            detail = f"`{request.path}` answers {method}, but got {request.method}."
            raise Problem("wrong-method", detail, f"Send {method}.", headers={"allow": allowed})
        if not is_open and not self._let_in(request):
            detail = "The request has no API key, or one that is not known here."
            todo = "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            raise Problem("no-key", detail, todo, headers={"www-authenticate": "Bearer"})
        return await handler(request)

    def _let_in(self, request: Request) -> bool:
        return self._keys.allow(request.header("authorization"), request.header("x-api-key"))

    def _served(self) -> Served:
        served = self._live.now
        if served is None:
            raise Problem("no-model", self._live.reason, "Release a model, or wait until it is loaded.", None, _LATER)
        return served

    async def _predict(self, request: Request) -> Response:
        _check_type(request)
        body = await self._body(request)
        work = partial(answer, body, self._served(), self._config.max_rows, request.id)
        # Each row that costs anything has a brace, so this counts rows without parsing.
        small = len(body) <= SMALL_BYTES and body.count(b"{") <= SMALL_ROWS + 2
        answered = work() if small else await self._in_thread(work)
        self._metrics.answered(answered)
        return Response(answered.body)

    async def _body(self, request: Request) -> bytes:
        limit, timeout_s = self._config.max_body_bytes, self._config.body_timeout_s
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

    async def _in_thread(self, work: Callable[[], Answered]) -> Answered:
        if self._waiting >= self._config.max_waiting:
            detail = f"{self._waiting} large requests are at work or waiting."
            raise Problem("busy", detail, "Ask again in a second, or send fewer rows a request.", None, _LATER)
        self._wait(+1)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._wait(-1)

    def _wait(self, change: int) -> None:
        self._waiting += change
        self._metrics.waiting(self._waiting)

    async def _health(self, request: Request) -> Response:
        return _json({"status": "alive"})

    async def _ready(self, request: Request) -> Response:
        served = self._served()
        return _json(
            {
                "status": "ready",
                "model": served.name,
                "version": served.version,
                "identity": served.bundle.identity,
                "newest_refused": self._live.reason or None,
            }
        )

    async def _model(self, request: Request) -> Response:
        return _json(model_facts(self._served()))

    async def _openapi(self, request: Request) -> Response:
        return _json(openapi(self._served(), bool(self._keys)))

    async def _figures(self, request: Request) -> Response:
        body, media_type = self._metrics.render(request.header("accept"))
        return Response(body, media_type=media_type)

    async def _page(self, request: Request) -> Response:
        locked = not self._let_in(request)
        body = page(self._live.now, self._live.reason, request.header("host"), bool(self._keys), locked)
        return Response(body, media_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


_LATER = {"retry-after": "1"}


def _check_type(request: Request) -> None:
    """Only JSON is read: a foreign page in a browser cannot send that without being asked first."""
    media_type, _, parameters = request.header("content-type").partition(";")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8"):
        detail = f"The content type must be application/json, but got {media_type.strip()[:80] or 'none'}."
        raise Problem("not-json-type", detail, "Send the header `Content-Type: application/json`.")
    coding = request.header("content-encoding")
    if coding.lower() not in ("", "identity"):
        detail = f"The body must not be encoded, but got {coding[:80]}."
        raise Problem("not-json-type", detail, "Send it without compression.")


def _json(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY))
