"""Figures for Prometheus: requests, rows, answers by value, and which model answers.

Each application has its own registry, so that several may run in one process. Answers are counted
by the values of the first answer column if it holds strings (classes); at most MAX_VALUES of them,
the rest as `(other)`, so that no model can fill a monitoring server's memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from luban.serve.live import LiveBundle
    from luban.serve.question import Question, Reply

MAX_VALUES = 100
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """All figures of one application."""

    def __init__(self, live: LiveBundle) -> None:
        self._live = live
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "luban_requests", "Requests by route and status.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "luban_request_seconds", "Time from head to answer.", ["route"], buckets=_BUCKETS, registry=registry
        )
        self._rows = Counter("luban_rows", "Rows that were asked.", registry=registry)
        self._row_errors = Counter("luban_row_errors", "Rows that got an error for an answer.", registry=registry)
        self._answers = Counter("luban_answers", "Answers by value.", ["value"], registry=registry)
        self._by_route: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._by_value: dict[str, Counter] = {}
        self._waiting = Gauge("luban_waiting_requests", "Requests at work or waiting.", registry=registry)
        self._info = Gauge(
            "luban_model_info", "The model that answers.", ["model", "version", "identity"], registry=registry
        )
        self._version = Gauge("luban_model_version", "Number of the version that answers.", registry=registry)
        self._ready = Gauge("luban_ready", "1 if a model is loaded.", registry=registry)
        self._stale = Gauge("luban_model_stale", "1 if the newest version could not be loaded.", registry=registry)
        self._loaded = Gauge("luban_model_loads", "Bundles loaded since the start.", registry=registry)
        self._refused = Gauge("luban_model_refusals", "Bundles refused since the start.", registry=registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        found = self._by_route.get((route, status))
        if found is None:
            # Looking labels up costs more than counting; there are few routes and statuses.
            found = self._requests.labels(route, str(status)), self._seconds.labels(route)
            self._by_route[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def waiting(self, count: int) -> None:
        """Tell how many requests are at work or wait."""
        self._waiting.set(count)

    def answered(self, question: Question, reply: Reply) -> None:
        """Count the rows of one request."""
        self._rows.inc(len(reply.answers))
        if reply.num_errors:
            self._row_errors.inc(reply.num_errors)
        column = reply.arm.served.counted
        if column is None:
            return
        for answer in reply.answers:
            value = answer.get(column)
            for one in value if isinstance(value, list) else (value,):
                if one is not None:
                    self._value(str(one))

    def _value(self, value: str) -> None:
        found = self._by_value.get(value)
        if found is None:
            found = self._answers.labels(value if len(self._by_value) < MAX_VALUES else "(other)")
            if len(self._by_value) < MAX_VALUES:
                self._by_value[value] = found
        found.inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The figures now, and their media type, as a scraper's Accept header asks."""
        now = self._live.now
        self._info.clear()
        if now is not None:
            self._info.labels(now.name, str(now.version or ""), now.bundle.identity).set(1)
        self._version.set((now.version or 0) if now is not None else 0)
        self._ready.set(now is not None)
        self._stale.set(bool(self._live.reason))
        self._loaded.set(self._live.num_loaded)
        self._refused.set(self._live.num_refused)
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type
