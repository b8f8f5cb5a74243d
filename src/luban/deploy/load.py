"""An open-loop load: requests leave at a fixed rate whatever comes back, as customers' do.

A request's time runs from the moment at which it should have left, so that a server that stalls does not
hide the wait of all who come meanwhile (Tene, "How NOT to measure latency", 2013). One process, one thread, HTTP/1.1
over connections that are kept. Knows no model: bodies are bytes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from luban.errors import ServeError

_AHEAD_S = 0.002


@dataclass
class Load:
    """What came back. `seconds` are the times of those that were answered with 200, in the order of their ends."""

    rate: float
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    num_broken: int = 0
    """Connections that ended before an answer."""
    late_s: float = 0.0
    """By how much, at most, this generator itself fell behind its schedule."""

    @property
    def num_failed(self) -> int:
        """Requests without an answer of 200."""
        return self.num_broken + sum(count for status, count in self.statuses.items() if status != 200)

    def quantile_ms(self, q: float) -> float:
        """A quantile of the times, in milliseconds; infinite where nothing was answered."""
        return float(np.quantile(self.seconds, q)) * 1000 if self.seconds else float("inf")


def request_bytes(address: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST of JSON as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(address).netloc}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode("ascii") + body


def drive(address: str, requests: Sequence[bytes], rate: float, duration_s: float, num_connections: int = 64) -> Load:
    """Send `requests` in turn, `rate` a second, for `duration_s`; then wait for what is under way, 10 s at most.

    Raises ServeError where nothing listens.
    """
    return asyncio.run(_drive(address, requests, rate, duration_s, num_connections))


async def _drive(address: str, requests: Sequence[bytes], rate: float, duration_s: float, num_connections: int) -> Load:
    loop = asyncio.get_running_loop()
    host, port = urlsplit(address).hostname or "", urlsplit(address).port or 80
    driver = _Driver(Load(rate))
    try:
        for _ in range(num_connections):
            await loop.create_connection(lambda: _Connection(driver), host, port)
    except OSError as error:
        raise ServeError(f"Nothing answers at {address}: {error}.") from None
    start = time.perf_counter() + 0.01
    for number in range(max(1, round(rate * duration_s))):
        due = start + number / rate
        await _until(due)
        if not number % 16:
            await asyncio.sleep(0)  # behind the schedule, answers must be read all the same
        driver.load.late_s = max(driver.load.late_s, time.perf_counter() - due)
        driver.send(requests[number % len(requests)], due)
    end = time.perf_counter() + 10
    while driver.under_way and time.perf_counter() < end:
        await asyncio.sleep(0.01)
    driver.load.num_broken += driver.under_way
    for connection in driver.all:
        connection.close()
    return driver.load


async def _until(due: float) -> None:
    """Wait; the last moments by asking again and again, because timers are no finer than a millisecond."""
    wait = due - time.perf_counter()
    if wait > _AHEAD_S:
        await asyncio.sleep(wait - _AHEAD_S)
    while time.perf_counter() < due:
        await asyncio.sleep(0)


class _Driver:
    """Free connections and what waits for one."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.free: deque[_Connection] = deque()
        self.all: list[_Connection] = []
        self.waiting: deque[tuple[bytes, float]] = deque()
        self.under_way = 0

    def send(self, request: bytes, due: float) -> None:
        self.under_way += 1
        if self.free:
            self.free.popleft().send(request, due)
        elif self.all:
            self.waiting.append((request, due))
        else:
            self.under_way -= 1
            self.load.num_broken += 1

    def answered(self, connection: _Connection, status: int, due: float, keep: bool) -> None:
        self.under_way -= 1
        self.load.statuses[status] += 1
        if status == 200:
            self.load.seconds.append(time.perf_counter() - due)
        if not keep:
            connection.close()
        elif self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.free.append(connection)

    def lost(self, connection: _Connection, busy: bool) -> None:
        self.all.remove(connection)
        if connection in self.free:
            self.free.remove(connection)
        if busy:
            self.under_way -= 1
            self.load.num_broken += 1
        if not self.all:
            self.load.num_broken += len(self.waiting)
            self.under_way -= len(self.waiting)
            self.waiting.clear()


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver
        self._data = b""
        self._due: float | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._driver.all.append(self)
        self._driver.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.lost(self, self._due is not None)
        self._due = None

    def send(self, request: bytes, due: float) -> None:
        assert self._transport is not None
        self._due, self._data = due, b""
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if not found or self._due is None:
            return
        lowered = head.lower()
        _, _, length = lowered.partition(b"content-length:")
        if len(body) >= int(length.split(b"\r\n", 1)[0] or 0):
            due, self._due = self._due, None
            self._driver.answered(self, int(head[9:12]), due, b"connection: close" not in lowered)
