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
