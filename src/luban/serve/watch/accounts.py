"""What is told of every request, whatever protocol it came by: figures, a line of the log, a trace.

A protocol calls `begin` once it has the head, and `end` once the answer was sent. Both cost next to nothing for a
request that is neither slow nor failed nor traced.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from luban.serve.question import ANYBODY, Caller
from luban.serve.watch.log import Access, LogConfig
from luban.serve.watch.metrics import OTHER, Metrics
from luban.serve.watch.tracing import TraceConfig, Tracer
from luban.serve.watch.track import Told, Track


class Accounts:
    """The three together. Raises MissingExtra where traces are wanted and their library is not installed."""

    def __init__(self, metrics: Metrics, log: LogConfig, trace: TraceConfig) -> None:
        self._metrics = metrics
        self._access = Access(log)
        self._tracer = Tracer(trace) if trace.endpoint else None

    def begin(self, told: Told) -> None:
        """A request has come; may be called again for one that is tried again."""
        if self._tracer is not None:
            self._tracer.begin(told)

    def end(self, told: Told, status: int, seconds: float, kind: str = "") -> None:
        """It was answered with `status`; `kind` is that of the problem it ended in, where nobody else tells."""
        self._metrics.request(told.route or OTHER, status, seconds, kind)
        if self._access.wants(status, seconds):
            self._access.write(told, status, seconds)
        if self._tracer is not None:
            self._tracer.end(told, status)

    def sent_away(self, route: str, kind: str) -> None:
        """A request was sent away unread, with 503: it is counted, and told of once a second with all others."""
        self._metrics.request(route, 503, 0.0, kind)
        self._access.sent_away()

    def close(self) -> None:
        """Send what traces are left."""
        if self._tracer is not None:
            self._tracer.close()


CLIENT_WENT_AWAY = 499
"""The status that is counted where nobody waits for an answer any more."""


@dataclass(slots=True)
class Called:
    """A call of gRPC as those see it who tell of it: by its path, as it goes over HTTP; `headers` are its metadata."""

    path: str
    route: str
    headers: Mapping[str, str]
    method: str = "POST"
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    caller: Caller = ANYBODY
    is_let_in: bool = False
    track: Track = field(default_factory=Track)

    def header(self, name: str) -> str:
        """A value of the call's metadata, "" where it is absent."""
        return self.headers.get(name, "")
