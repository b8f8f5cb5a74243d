"""A worker: one of several processes that answer on one listening socket.

What a worker is, its supervisor says in one environment variable: its number, and the descriptors of the socket, of
a pipe on which it says that it is ready, and of one that closes when the supervisor is gone. It knows nothing of
the others."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

VARIABLE = "LUBAN_WORKER"
READY = b"ready\n"


@dataclass(frozen=True)
class Worker:
    """Number `index` of `count`. `folder` is one that all share, for their figures."""

    index: int
    count: int
    socket_fd: int
    ready_fd: int
    alive_fd: int
    folder: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Worker | None:
        """What this process is; None where it is no worker."""
        text = environment.get(VARIABLE)
        return cls(**orjson.loads(text)) if text else None

    def variable(self) -> str:
        """The value of the environment variable."""
        return orjson.dumps(asdict(self)).decode()

    @property
    def board(self) -> Path:
        """Where workers tell each other their figures."""
        return Path(self.folder)

    def take(self) -> socket.socket:
        """The listening socket. From now on the process ends, in good order, when its supervisor is gone."""
        # What this process starts itself must not hold the port or the pipes open.
        for descriptor in (self.socket_fd, self.ready_fd, self.alive_fd):
            os.set_inheritable(descriptor, False)
        os.environ.pop(VARIABLE, None)
        threading.Thread(target=self._follow, name="luban-supervisor", daemon=True).start()
        return socket.socket(fileno=self.socket_fd)

    def ready(self) -> None:
        """Tell the supervisor that requests are answered."""
        os.write(self.ready_fd, READY)

    def _follow(self) -> None:
        os.read(self.alive_fd, 1)
        os.kill(os.getpid(), signal.SIGTERM)
