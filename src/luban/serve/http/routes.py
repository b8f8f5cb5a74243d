"""Routes: which handler answers a path and a method, and the least role that it takes.

A path may have parts in braces (`/v2/models/{model}/infer`); each takes one piece of a path. Plain
paths are found at once, the others in order. Knows no handler's meaning.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote

from luban.catalog import nearest
from luban.serve.http.operations import Operation
from luban.serve.http.problems import Problem
from luban.serve.http.wire import Request, Response
from luban.serve.question import Role

MAX_KEPT = 1000
"""Paths of which is kept whether they have halves: clients choose paths, and must not fill the memory."""
Handler = Callable[[Request], Awaitable[Response]]


class Admitted(Protocol):
    """A request that was let in, with what its handler keeps of it."""

    def leave(self) -> None:
        """It has left; called once or more."""


class Halves(Protocol):
    """A handler that a small request may run without a task (`direct.py`): it never waits but for one future.

    The route's `handler` must do the same, in the same order, so that both ways answer alike. All raise Problem.
    """

    def enter(self, request: Request) -> Admitted:
        """Look at the head."""

    def begin(self, request: Request, admitted: Any, body: bytes) -> asyncio.Future[Any]:
        """Ask; the future is done once `end` can be called."""

    def end(self, request: Request, admitted: Any) -> Response:
        """The answer, or what the future holds is raised."""


@dataclass(frozen=True)
class Route:
    """One method of one path. `role` is the least that a caller must have; None lets everybody in.

    `describe` is what OpenAPI says of it (`operations.py`). A route without it is described by the first
    line of its handler's docstring, as one that takes nothing and gives JSON. `halves`: how it is answered
    without a task.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None = "caller"
    describe: Operation = field(default_factory=Operation)
    halves: Halves | None = None


class Router:
    """A table of routes. Paths are compared as they were sent; only what stands for a part in braces is decoded."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        self._in_halves: dict[str, Route | None] = {}
        self._plain: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            if "{" in route.path:
                pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", route.path))
                self._patterns.setdefault(route.path, (pattern, {}))[1][route.method] = route
            else:
                self._plain.setdefault(route.path, {})[route.method] = route

    def paths(self) -> list[str]:
        """All paths, as they were given."""
        return [*self._plain, *self._patterns]

    def route_of(self, path: str) -> Route | None:
        """Where a POST to a path as it was sent is answered in halves; None where it is not, or has a query."""
        if path in self._in_halves:
            return self._in_halves[path]
        methods = self._plain.get(path)
        if methods is None:
            fits = (methods for pattern, methods in self._patterns.values() if pattern.fullmatch(path))
            methods = next(fits, {}) if "%" not in path and "?" not in path else {}
        route = methods.get("POST")
        found = route if route is not None and route.halves is not None else None
        if len(self._in_halves) < MAX_KEPT:
            self._in_halves[path] = found
        return found

    def find(self, request: Request) -> Route | Response:
        """The route of a request, whose `parts` it fills; or the answer to OPTIONS. Raises Problem."""
        methods = self._plain.get(request.path) or self._matched(request)
        if methods is None:
            close = nearest(request.path, self.paths())
            todo = f"Did you mean `{close}`?" if close else f"Paths: {', '.join(self.paths())}."
            raise Problem("no-such-path", "This server does not have that path.", todo)
        found = methods.get("GET" if request.method == "HEAD" else request.method)
        if found is not None:
            return found
        names = [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]
        allowed = {"allow": ", ".join(names)}
        if request.method == "OPTIONS":
            return Response(b"", 204, headers=allowed)
        detail = f"`{request.path}` answers {', '.join(methods)}, but got {request.method}."
        raise Problem("wrong-method", detail, f"Send {next(iter(methods))}.", headers=allowed)

    def _matched(self, request: Request) -> dict[str, Route] | None:
        for pattern, methods in self._patterns.values():
            found = pattern.fullmatch(request.path)
            if found is not None:
                request.parts = {name: unquote(value) for name, value in found.groupdict().items()}
                return methods
        return None
