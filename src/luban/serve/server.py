"""Running the application: what a process opens before it answers, and gives back after.

Decided here: the door, the socket, the models and the application are opened in this order and closed in the other, for
`luban serve`, for one of several workers, for a thread of this process and for another ASGI server alike; `serve`
returns after a signal. Where it may listen is said in `address`, how it starts, drains and stops in `draining`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from luban.engine.cores import usable_cores
from luban.errors import ServeError
from luban.serve.address import MAKE_KEY, address_of, listen
from luban.serve.app import App
from luban.serve.config import ServeConfig
from luban.serve.draining import Draining
from luban.serve.fleet import live
from luban.serve.fleet.fleet import Fleet, Origins
from luban.serve.fleet.memory import Memory
from luban.serve.fleet.origins import Origin
from luban.serve.guards.breaker import end_process
from luban.serve.guards.door import Door
<<<<<<< HEAD
=======
from luban.serve.guards.keys import VARIABLE, Keys
from luban.serve.http.direct import DirectProtocol
from luban.serve.http.outbox import Outbox
from luban.serve.http.tls import Tls
>>>>>>> 1cca0ec (Under overload a request is sent away unread; answers of a batch are written together; shedding by a number alone)
from luban.serve.processes.supervisor import Supervisor
from luban.serve.processes.worker import Worker
from luban.serve.watch import log
from luban.serve.watch.board import Board

if TYPE_CHECKING:
    from luban.store.home import Home

LOG = logging.getLogger("luban.serve")


def serve(
    origin: Origin | Origins,
    config: ServeConfig,
    ready: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    home: Home | None = None,
    worker: Worker | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then return.

    `ready` is called with the address (`http://127.0.0.1:8000`) once requests are answered; `home` is the
    project's state, None for a bundle in a folder, which has none. Raises
    ServeError where it cannot listen or must not, BundleError where a folder's bundle cannot be served. `worker`: this
    process is one of several; without it, `config.workers` must be 1 (see `serve_by_workers`).
    """
    if worker is None and config.workers > 1:
        raise ServeError(f"`workers` must be 1 here, but got {config.workers}.", "Use `luban serve --workers N`.")
    log.set_up()
    environment = os.environ if environment is None else environment
    with _running(origin, config, environment, home, worker) as (server, listening):
        server.on_ready = ready
        server.collecting.begin()
        server.guarding.watch(end_process)
        server.run(sockets=[listening])
        LOG.info("stopped")
        num_hung = server.guarding.breaker.num_hung
    if num_hung:
        end_process(0)


def serve_by_workers(
    command: Sequence[str],
    config: ServeConfig,
    ready: Callable[[str], None],
    environment: Mapping[str, str] | None = None,
    home: Home | None = None,
) -> None:
    """The same by `config.workers` processes on one socket: each is `command` with a `Worker` in its environment."""
    log.set_up()
    environment = os.environ if environment is None else environment
    with contextlib.closing(Door.open(config, environment, home)) as door:
        door.start()
        listening = listen(config, door)
    address = address_of(listening, config)
    with contextlib.closing(listening):
        stop_s = config.drain_s + config.stop_timeout_s
        Supervisor(command, config.workers, listening, environment, stop_s).run(lambda: ready(address))
    LOG.info("stopped")


@contextlib.contextmanager
def serving(
    origin: Origin | Origins,
    config: ServeConfig,
    environment: Mapping[str, str] | None = None,
    home: Home | None = None,
) -> Iterator[str]:
    """The same in a thread of this process, for the length of a `with` block; gives the address."""
    with _running(origin, config, os.environ if environment is None else environment, home) as (server, listening):
        is_ready = threading.Event()
        server.on_ready = lambda address: is_ready.set()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="luban-serve")
        thread.start()
        try:
            while not is_ready.wait(0.05):
                if not thread.is_alive():
                    raise ServeError("The server ended before it was ready.", "Look at its log.")
            yield address_of(listening, config)
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def _running(
    origin: Origin | Origins,
    config: ServeConfig,
    environment: Mapping[str, str],
    home: Home | None,
    worker: Worker | None = None,
) -> Iterator[tuple[Draining, socket.socket]]:
    door = Door.open(config, environment, home, None if worker is None else worker.board)
    door.start()
    if worker is not None and worker.index:
        # Jobs have processes of their own: those of one worker do.
        config = config.model_copy(update={"jobs": config.jobs.model_copy(update={"workers": 0})})
    with (
        contextlib.closing(door),
        contextlib.closing(listen(config, door) if worker is None else worker.take()) as listening,
        _loaded(origin, config, door, home) as app,
    ):
        app.metrics.board = Board(worker.board) if worker is not None else None
        yield Draining(app, config), listening


@contextlib.contextmanager
def _loaded(origin: Origin | Origins, config: ServeConfig, door: Door, home: Home | None) -> Iterator[App]:
    origins = origin if isinstance(origin, Origins) else Origins((origin,))
    load = partial(live.load, num_threads=model_threads(config))
    fleet = Fleet(origins, config.poll_s, Memory(config.memory), load, any_version=config.any_version)
    fleet.start()
    app = App(fleet, config, door, home)
    try:
        yield app
    finally:
        app.close()
        fleet.stop()


@contextlib.contextmanager
def application(
    origin: Origin | Origins,
    config: ServeConfig,
    environment: Mapping[str, str] | None = None,
    home: Home | None = None,
) -> Iterator[App]:
    """The application alone, its models loaded, for another ASGI server to run. Raises as `serve` does.

    Who reaches that server is not known here, so without an API key `no_key` must be said.
    """
    door = Door.open(config, os.environ if environment is None else environment, home)
    door.start()
    if not door and not config.no_key:
        door.close()
        raise ServeError("Without an API key another server may not answer for all who reach it.", MAKE_KEY)
    with contextlib.closing(door), _loaded(origin, config, door, home) as app:
        yield app


def model_threads(config: ServeConfig) -> int:
    """Threads of ONNX Runtime for each model of one process."""
    if config.model_threads != "auto":
        return config.model_threads
    return max(1, usable_cores() // config.workers)
<<<<<<< HEAD
=======


def listen(config: ServeConfig, keys: Keys | Door) -> socket.socket:
    """A bound socket at the configured address. Raises ServeError where it cannot or must not be."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ServeError(f"`host` must be an address of this machine, but got {config.host}: {error}.") from None
    if not keys and not config.no_key and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise ServeError(
            f"Without an API key the server listens on loopback only, but `host` is {config.host}.",
            _MAKE_KEY,
        )
    try:
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {config.host} port {config.port}: {error.strerror or error}.",
            "Choose another with --port; 0 picks a free one.",
        ) from None


def address_of(listening: socket.socket, config: ServeConfig) -> str:
    """The URL of a bound socket."""
    host, port = listening.getsockname()[:2]
    scheme = "http" if config.tls is None else "https"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


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


class _Server(uvicorn.Server):
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
        if self._app.draining:
            state = self.server_state
            state.default_headers = [*(h for h in state.default_headers if h != _CLOSE), _CLOSE]
        return done or time.monotonic() >= self._stop_at

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
>>>>>>> 1cca0ec (Under overload a request is sent away unread; answers of a batch are written together; shedding by a number alone)
