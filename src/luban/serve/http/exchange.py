"""One request that is answered without a task and an ASGI cycle of its own, and what answers it.

An exchange stands where the web server keeps its cycle of a request, and looks like one to it. Knows no connection's
state and no route.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from luban.serve.http.problems import MOST_TRIES, NotYet
from luban.serve.http.routes import Admitted, Halves, Route
from luban.serve.http.wire import Request, Response


class Service(Protocol):
    """What answers: the application, as far as this module needs it."""

    def halves_of(self, path: str) -> Halves | None:
        """How a POST to this very path is answered in halves; None where it is not."""

    is_full: Callable[[], bool]
    """Whether whoever comes now is to be sent away."""

    def refusal(self, path: str, request_id: str) -> bytes | None:
        """What follows the status in the answer to one who is sent away, counted; None where it is to be read first."""

    def enter(self, request: Request) -> Route | Response:
        """Find the route and let the caller in. Raises Problem."""

    def failed(self, error: Exception, request: Request) -> Response:
        """What to answer where something was raised."""

    def account(self, request: Request, status: int, seconds: float) -> None:
        """Count and log one request."""

    @property
    def max_body_bytes(self) -> int:
        """Largest body; a larger one is refused on the usual way."""


class _NoEvent:
    """In the place of a cycle's event: nobody waits for it."""

    def set(self) -> None:
        pass


class Connection(Protocol):
    """Where a request came from, as far as its exchange needs it."""

    service: Service

    def answer(self, exchange: Exchange, response: Response, request: Request) -> None:
        """Write the answer."""


class Exchange:
    """One request and its answer. To the web server it looks like a cycle of its own."""

    __slots__ = ("_admitted", "_halves", "_later", "_protocol", "_request", "_started", "disconnected", "keep_alive")
    message_event = _NoEvent()
    response_complete = False
    more_body = False

    def __init__(self, protocol: Connection, halves: Halves, keep_alive: bool) -> None:
        self._protocol = protocol
        self._halves = halves
        self._request: Request | None = None
        self._admitted: Admitted | None = None
        self._later: asyncio.Task[None] | None = None
        self._started = time.perf_counter()
        self.keep_alive = keep_alive
        self.disconnected = False

    def begin(self, path: str, headers: list[tuple[bytes, bytes]], body: bytes, tries: int = MOST_TRIES) -> None:
        """Ask; the answer is written when it is there, perhaps at once."""
        if self._request is None:  # else it is begun anew, with its caller and its notes
            self._request = Request({"method": "POST", "path": path, "headers": headers}, _never)
        request = self._request
        service = self._protocol.service
        try:
            route = service.enter(request)
            if isinstance(route, Response):
                self._write(route)
                return
            self._admitted = self._halves.enter(request)
            future = self._halves.begin(request, self._admitted, body)
        except Exception as error:
            self._leave()
            if isinstance(error, NotYet) and tries > 1:
                again = self._wait(error, path, headers, body, tries - 1)
                self._later = asyncio.get_running_loop().create_task(again)
            else:
                self._write(service.failed(error, request))
        else:
            future.add_done_callback(self._answered)

    async def _wait(
        self, later: NotYet, path: str, headers: list[tuple[bytes, bytes]], body: bytes, tries: int
    ) -> None:
        try:
            await later.ready()
        except Exception as error:
            assert self._request is not None
            self._write(self._protocol.service.failed(error, self._request))
        else:
            self.begin(path, headers, body, tries)

    def _answered(self, future: asyncio.Future[Any]) -> None:
        request, admitted = self._request, self._admitted
        assert request is not None
        assert admitted is not None
        try:
            if future.cancelled():
                raise asyncio.InvalidStateError("the answer was dropped")
            response = self._halves.end(request, admitted)
        except Exception as error:
            response = self._protocol.service.failed(error, request)
        finally:
            self._leave()
        self._write(response)

    def _leave(self) -> None:
        if self._admitted is not None:
            self._admitted.leave()

    def _write(self, response: Response) -> None:
        assert self._request is not None
        self._protocol.answer(self, response, self._request)
        self._protocol.service.account(self._request, response.status, time.perf_counter() - self._started)


async def _never() -> Any:
    raise AssertionError("a direct request has its body")


class Done:
    """In the place of a cycle that has answered."""

    message_event = _NoEvent()
    response_complete = True
    disconnected = False
    keep_alive = True


DONE = Done()
