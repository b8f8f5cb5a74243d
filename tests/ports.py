"""Ports for programs that are told their port and cannot choose one.

They lie below the range from which the kernel hands out ports by itself, where one may be gone to any outgoing
connection before the program binds it, and above those that Ray gives its workers. One that was given is locked for as
long as this process lives, so that no other run of tests on this machine gives it before the program has bound it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

_FIRST, _LAST = 20_000, 32_000
_STEP = 7_919  # prime to the number of ports, so that neighbours among process ids begin far apart
_LOCKS = Path(tempfile.gettempdir()) / f"luban-tests-ports-{os.getuid()}"
"""Byte N of this file is locked by who was given port N. Opened once: closing it anywhere would give all locks back."""
_file = os.open(_LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _counted() -> Iterator[int]:
    for number in itertools.count(os.getpid() * _STEP):
        yield _FIRST + number % (_LAST - _FIRST)


_ports = _counted()


def _take(port: int) -> bool:
    """Whether nobody has it and nobody listens on it; then it is this process's own."""
    try:
        fcntl.lockf(_file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def free_port() -> int:
    """A loopback port that nothing listens on, not given before."""
    return next(port for port in itertools.islice(_ports, _LAST - _FIRST) if _take(port))


def free_ports(num: int) -> list[int]:
    """That many, all different."""
    return [free_port() for _ in range(num)]


def neighbours() -> list[int]:
    """Two, one after the other."""
    ports = free_ports(2)
    while ports[1] != ports[0] + 1:
        ports = [ports[1], free_port()]
    return ports
