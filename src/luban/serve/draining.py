"""One process's event loop: it starts, says when it is ready, drains, and stops.

Decided here: SIGTERM, SIGHUP and SIGINT end it in good order and requests that run are finished; a second SIGINT ends
it at once. A client that does not send a request's head in time, or one without end, is cut off. Knows no model and no
socket but the one that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType

import uvicorn

from luban.serve.address import address_of
from luban.serve.app import App
from luban.serve.config import ServeConfig
from luban.serve.http.direct import DirectProtocol
from luban.serve.http.outbox import Outbox
from luban.serve.http.tls import Tls
from luban.serve.processes.collecting import Collecting

LOG = logging.getLogger("luban.serve")
KEEP_ALIVE_S = 5
"""Time after which a connection on which nothing comes is closed."""
_CLOSE = (b"connection", b"close")


def _settings(app: App, config: ServeConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=partial(DirectProtocol, app, Outbox(), config.head_timeout_s),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=config.max_connections,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=config.stop_timeout_s,
    )


class Draining(uvicorn.Server):
    """uvicorn's server, which says when it is ready, drains before it stops, and returns after a signal.

    Drained, it still answers, but says 503 to `/ready` and asks clients to close their connections: whoever shares
    requests out then takes them elsewhere before the port is closed.
    """

    on_ready: Callable[[str], None] = staticmethod(lambda address: None)

    def __init__(self, app: App, config: ServeConfig) -> None:
        super().__init__(_settings(app, config))
        self._own_config = config
        self._tls = None if config.tls is None else Tls(config.tls)
        if self._tls is not None:
            self.config.load()
            self.config.ssl = self._tls.context
        self._app = app
        self.guarding = app.guarding
        self.collecting = Collecting()
        self._drain_s = config.drain_s
        self._stop_at = math.inf
        self._publishing: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the address."""
        await self._app.companions.start()
        # Tells its figures to the other workers, where there are any.
        self._publishing = asyncio.get_running_loop().create_task(self._app.metrics.publish())
        await super().startup(sockets=sockets)
        if self.started and sockets:
            address = address_of(sockets[0], self._own_config)
            LOG.info("listening", extra={"fields": {"address": address}})
            self.on_ready(address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop what lives beside the application, then finish what runs."""
        await self._app.companions.stop()
        await super().shutdown(sockets=sockets)
        if self._tls is not None:
            self._tls.close()
        if self._publishing is not None:
            self._publishing.cancel()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to stop now."""
        done = await super().on_tick(counter)
        self.collecting.now_and_then()
        if self._app.draining:
            state = self.server_state
            state.default_headers = [*(h for h in state.default_headers if h != _CLOSE), _CLOSE]
        return done or time.monotonic() >= self._stop_at

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGHUP, too, where it is not ignored (`nohup`): who closes the terminal stops the server in good order."""
        with super().capture_signals():
            before = signal.getsignal(signal.SIGHUP)
            if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
                yield
                return
            signal.signal(signal.SIGHUP, lambda number, frame: self.handle_exit(signal.SIGTERM, frame))
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in good order; unlike uvicorn's, the signal is not raised again afterwards.

        The first SIGTERM drains for `drain_s`; a second one, or SIGINT, stops at once.
        """
        if sig == signal.SIGTERM and self._drain_s > 0 and not self._app.draining:
            self._stop_at = time.monotonic() + self._drain_s
            self._app.draining = True
            return
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
