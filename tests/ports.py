"""Ports for programs that are told their port and cannot choose one.

They lie below the range from which the kernel hands out ports by itself: one of those may be gone to any outgoing
connection before the program binds it. Two processes begin at different places, and one gives no port twice.
"""

from __future__ import annotations

import itertools
import os
import socket

_FIRST, _LAST = 10_240, 32_000
_STEP = 7_919  # prime to the number of ports, so that neighbours among process ids begin far apart
_ports = (_FIRST + number % (_LAST - _FIRST) for number in itertools.count(os.getpid() * _STEP))


def free_port() -> int:
    """A loopback port that nothing listens on, not given before."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the ports are counted without end")


def free_ports(num: int) -> list[int]:
    """That many, all different."""
    return [free_port() for _ in range(num)]
