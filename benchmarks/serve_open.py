"""An open-loop generator: requests leave at a fixed rate, whatever becomes of those before them.

    python -m benchmarks.serve_open ADDRESS BODIES RATE SECONDS [--key KEY] [--connections 256]

A request's time counts from when it was to leave, not from when a connection was free, so that a server which stalls
cannot hide that it made others wait (Tene, "How NOT to measure latency", 2013). Requests go to whichever connection is
free, over at most so many; what finds none waits in line and its time runs. Prints one line of JSON: answers by
status, quantiles of how late requests left, of those with 200, and of those that were refused (429, 503). No library of
HTTP stands between: the loop writes bytes and counts those that come back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter, deque
from pathlib import Path
from typing import cast

import numpy as np
import uvloop

EARLY_S = 0.001
"""Awake so long before a request is to leave."""


class Connection(asyncio.Protocol):
    """One kept connection; `load.free` holds it while nothing is asked on it."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._left = b""
        self._due: float | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Free from now on."""
        # uvloop's transports are none of asyncio's by class.
        self.transport = cast(asyncio.Transport, transport)
        self._load.is_free(self)

    def ask(self, due: float, request: bytes) -> None:
        """Send a request that was to leave at `due`."""
        self._due = due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Once an answer is whole, count it."""
        self._left += data
        head, found, body = self._left.partition(b"\r\n\r\n")
        if not found or self._due is None:
            return
        at = head.lower().index(b"content-length: ") + 16
        if len(body) < int(head[at : head.find(b"\r", at) if b"\r" in head[at:] else None]):
            return
        self._left, due, self._due = b"", self._due, None
        self._load.answered(int(head[9:12]), due)
        self._load.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed: what was asked on it is lost, and another takes its place."""
        self._load.closed(self, self._due is not None)


class Load:
    """What is asked, and what came of it."""

    def __init__(self, host: str, port: int, requests: list[bytes], connections: int) -> None:
        self._where = host, port
        self._requests = requests
        self._most = connections
        self._open = 0
        self._number = 0
        self._free: list[Connection] = []
        self._line: deque[float] = deque()
        self._opening: set[asyncio.Task[object]] = set()
        self.late: list[float] = []
        """How long after they were due requests left: no connection was free, or the generator was late itself."""
        self.statuses: Counter[int] = Counter()
        self.taken: dict[int, list[float]] = {}

    def due(self, at: float) -> None:
        """A request is to leave now."""
        if self._free:
            self._ask(self._free.pop(), at)
            return
        self._line.append(at)
        if self._open < self._most:
            self._open += 1
            opening = asyncio.get_running_loop().create_task(self._connect())
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: Connection(self), *self._where)
        except OSError:
            self._open -= 1
            self.statuses[0] += bool(self._line)
            if self._line:
                self._line.popleft()

    def _ask(self, connection: Connection, at: float) -> None:
        self._number += 1
        self.late.append(time.perf_counter() - at)
        connection.ask(at, self._requests[self._number % len(self._requests)])

    def is_free(self, connection: Connection) -> None:
        """Ask the next in line on it, if there is one."""
        if self._line:
            self._ask(connection, self._line.popleft())
        else:
            self._free.append(connection)

    def answered(self, status: int, due: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.taken.setdefault(status, []).append(time.perf_counter() - due)

    def closed(self, connection: Connection, asked: bool) -> None:
        """Count what was lost."""
        self._open -= 1
        self.statuses[0] += asked
        if connection in self._free:
            self._free.remove(connection)

    async def run(self, rate: float, seconds: float, rests: bool = False) -> float:
        """Send for so long, wait for the last answers; the rate that was really sent.

        Whoever has a core alone never sleeps, and so is never late; with `rests` others get it between requests.
        """
        start, sent = time.perf_counter(), 0
        while (now := time.perf_counter() - start) < seconds:
            while sent < now * rate:
                self.due(start + sent / rate)
                sent += 1
            await asyncio.sleep(max(0.0, start + sent / rate - time.perf_counter() - EARLY_S) if rests else 0)
        end = time.perf_counter() + 5
        while sum(self.statuses.values()) < sent and time.perf_counter() < end:
            await asyncio.sleep(0.01)
        self.statuses[0] += sent - sum(self.statuses.values())
        return sent / seconds


def quantiles_ms(taken: list[float]) -> list[float] | None:
    """p50, p99 and the largest, milliseconds."""
    if not taken:
        return None
    return [round(float(one) * 1000, 2) for one in np.quantile(taken, [0.5, 0.99, 1.0])]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_open")
    parser.add_argument("address")
    parser.add_argument("bodies", type=Path)
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--key", default="")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--rests", action="store_true", help="leave the core to others between requests")
    asked = parser.parse_args()
    host, _, port = asked.address.removeprefix("http://").partition(":")
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {asked.key}\r\n" if asked.key else ""
    bodies = [line.encode() for line in asked.bodies.read_text("utf-8").splitlines()]
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    async def run() -> None:
        load = Load(host, int(port), requests, asked.connections)
        rate = await load.run(asked.rate, asked.seconds, asked.rests)
        refused = [one for status in (429, 503) for one in load.taken.get(status, [])]
        found = {
            "rate": round(rate, 1),
            "statuses": {str(status): count for status, count in sorted(load.statuses.items()) if count},
            "late_ms": quantiles_ms(load.late),
            "answered_ms": quantiles_ms(load.taken.get(200, [])),
            "refused_ms": quantiles_ms(refused),
        }
        print(json.dumps(found), flush=True)

    uvloop.run(run())


if __name__ == "__main__":
    main()
