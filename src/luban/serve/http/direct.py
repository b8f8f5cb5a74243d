"""Small requests answered straight from the connection, without a task and an ASGI cycle each.

What costs most in answering a small question by ASGI is not the answer: it is a task, an event, a scope and three
messages a request. So a POST that has come whole, to a route that says how it is answered in halves
(`Route.halves`), is read, asked and written here. All else, and whatever is unusual about a request (a body in
pieces, an encoded path, `Expect`, HTTP/1.0, one that was sent before the last was answered, too many connections),
takes the usual way through the web server. Both give the same bytes: they call the same functions of the
application, in the same order. A head has a limit of time and of bytes on both ways; what a connection may do is
decided in `strict.py`.

This module knows no route, no key and no model.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from luban.serve.http.exchange import DONE, Exchange, Service
from luban.serve.http.outbox import Outbox
from luban.serve.http.refusing import whole_and_alone
from luban.serve.http.routes import Halves
from luban.serve.http.strict import MAX_HEAD_BYTES, StrictProtocol
from luban.serve.http.wire import Request, Response, head_of


class DirectProtocol(StrictProtocol):
    """The web server's protocol, with the short way and with limits for a request's head."""

    def __init__(
        self,
        service: Service,
        outbox: Outbox,
        head_timeout_s: float,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.service = service
        self._outbox = outbox
        self._head_timeout_s = head_timeout_s
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._idle_since = 0.0
        self._halves: Halves | None = None
        """Set while the body of a request is read that may take the short way."""
        self._pieces: list[bytes] = []
        self._default: list[tuple[bytes, bytes]] = []
        self._lines: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection: its first head must come in time."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what runs for it is finished, and its answer dropped."""
        self._stop_timing()
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes."""
        if self.service.is_full() and self._is_at_rest() and self._sent_away(data):
            return
        try:
            self.feed(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self._refuse(message)
            return
        if self._halves is not None:
            self._go_the_usual_way()
        elif self._in_head:
            self._more_head(len(data))

    def _is_at_rest(self) -> bool:
        """Whether nothing of a request was read yet that is not answered."""
        busy = self.cycle is not None and not self.cycle.response_complete
        begun = self._in_head and self._head_bytes > 0
        return not (busy or begun or self._in_body or self._full or self.transport.is_closing())

    def _sent_away(self, data: bytes) -> bool:
        """Answer a request unread: under overload, to read all that come would be all that there is time for."""
        found = whole_and_alone(data)
        refusal = self.service.refusal(*found) if found is not None else None
        if refusal is None:
            return False
        self._stop_timing()
        self._outbox.write(self.transport, self._line(503) + refusal)
        self.on_response_complete()
        return True

    def _more_head(self, num_bytes: int) -> None:
        """A head is open after all that has come was read."""
        self._head_bytes += num_bytes
        if self._head_timer is None:
            self._time_head()
        if self._head_bytes > MAX_HEAD_BYTES:
            self._cut_off()

    def on_message_begin(self) -> None:
        """The first byte of a head. The scope is made only where the usual way is taken."""
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Choose the way."""
        self._stop_timing()
        if not self.begins():
            return
        self._halves = self._short_way()
        if self._halves is None:
            self.begin_cycle()
        else:
            self._pieces = []

    def _short_way(self) -> Halves | None:
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        limit = self.limit_concurrency
        crowded = limit is not None and (len(self.connections) >= limit or len(self.tasks) >= limit)
        if crowded or self.expect_100_continue or self.parser.get_method() != b"POST" or self._version != "1.1":
            return None
        try:
            return self.service.halves_of(self.url.decode("ascii"))
        except UnicodeDecodeError:
            return None

    def _go_the_usual_way(self) -> None:
        """The body is not whole yet, or too large: hand on what there is of it."""
        self._halves, body = None, b"".join(self._pieces)
        self._pieces = []
        self._body_bytes -= len(body)  # It is counted again.
        self.begin_cycle()
        if body:
            super().on_body(body)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        if self._halves is None:
            super().on_body(body)
        else:
            self._body_bytes += len(body)
            self._pieces.append(body)

    def on_message_complete(self) -> None:
        """A request has come whole."""
        halves = self._halves
        if halves is not None and self._body_bytes > self.service.max_body_bytes:
            self._go_the_usual_way()
        elif halves is not None:
            self._in_body = False
            self._halves, body = None, b"".join(self._pieces)
            self._pieces = []
            exchange = Exchange(self, halves, self.parser.should_keep_alive())
            self.cycle = exchange  # type: ignore[assignment]
            exchange.begin(self.url.decode("ascii"), self.headers, body)
            return
        super().on_message_complete()

    def answer(self, exchange: Exchange, response: Response, request: Request) -> None:
        """Write the answer to the exchange that runs."""
        if self.cycle is exchange:  # type: ignore[comparison-overlap]  # else it is of one behind this, which waits
            self.cycle = DONE  # type: ignore[assignment]
        transport = self.transport
        if not exchange.disconnected and not transport.is_closing():
            head = head_of(response, request.id, request.track.traceparent)
            closing = b"" if exchange.keep_alive else b"connection: close\r\n"
            if "connection" in response.headers:
                exchange.keep_alive, closing = False, b""
            data = b"%b%b%b\r\n%b" % (self._line(response.status), head, closing, response.body)
            is_alone = request.track.together == 1
            self._outbox.write(transport, data, close=not exchange.keep_alive, at_once=is_alone)
        self.on_response_complete()

    def _line(self, status: int) -> bytes:
        """The status and what every response begins with; these lines change once a second."""
        if self._default is not self.server_state.default_headers:
            self._default = self.server_state.default_headers
            self._lines.clear()
        found = self._lines.get(status)
        if found is None:
            lines = b"".join(b"%b: %b\r\n" % header for header in self._default)
            found = self._lines[status] = STATUS_LINE[status] + lines
        return found

    def on_response_complete(self) -> None:
        """Go on with the next request, if it has been sent already. One timer a connection looks after idle ones."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.watch_closing()
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if nothing has come on it for so long; else look again later."""
        self.timeout_keep_alive_task = None
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self._in_head or self.transport.is_closing():
            return  # A head has its own timer, and an answer arms this one again.
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._look_again_in(rest)
        else:
            self.transport.close()

    def _look_again_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _time_head(self) -> None:
        self._stop_timing()
        self._head_timer = self.loop.call_later(self._head_timeout_s, self._cut_off)

    def _stop_timing(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _cut_off(self) -> None:
        self._stop_timing()
        if not self.transport.is_closing():
            self._refuse("The request's head was too slow or too long.")

    def shutdown(self) -> None:
        """The server ends: close the connection, now or behind the answer that is being made."""
        self._outbox.flush()
        super().shutdown()

    def _refuse(self, message: str) -> None:
        self._outbox.flush()
        self.send_400_response(message)
        self.watch_closing()
