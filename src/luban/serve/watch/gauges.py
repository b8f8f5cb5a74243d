"""What is read off other parts of the server when somebody scrapes: models and arms, the queue.

Each class here looks at attributes of one part, which need not know that it is watched. Counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.serve.batches.batching import Batcher
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.fleet.live import LiveBundle


class FleetGauges:
    """Which versions answer, with which shares, and what was refused."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def figures(self) -> Iterator[Sample]:
        """One look at every model."""
        lives = [self._fleet.live(name) for name in self._fleet.names()]
        yield Sample("luban_ready", (), float(not self._fleet.unready()))
        loaded: dict[tuple[str, str], int] = {}
        for live in lives:
            yield from self._model(live)
            loaded |= {(one.name, str(one.version or "")): one.cost_bytes for one in live.shelf.spares()}
            routing = live.routing
            if routing is None:
                continue
            for arm in (*routing.arms, *routing.shadows):
                version = str(arm.served.version or "")
                loaded[arm.served.name, version] = arm.served.cost_bytes
                weight = arm.weight if arm in routing.arms else 0.0
                yield Sample("luban_arm_weight_ratio", (arm.served.name, version, arm.name), weight)
        yield Sample("luban_loaded_models", (), len(loaded))
        for labels, cost_bytes in loaded.items():
            yield Sample("luban_model_memory_bytes", labels, cost_bytes)
        yield Sample("luban_memory_limit_bytes", (), self._fleet.memory.limit_bytes or 0)
        yield Sample("luban_model_unloads_total", (), self._fleet.memory.num_unloaded)

    @staticmethod
    def _model(live: LiveBundle) -> Iterator[Sample]:
        lineup, name = live.lineup, live.name
        if lineup is not None:
            version = lineup.arms[0].wanted.version or 0
            yield Sample("luban_model_info", (name, str(version or ""), live.identity or ""), 1)
            yield Sample("luban_model_version", (name,), version)
        yield Sample("luban_breaker_open", (name,), 0.0)  # the breaker itself tells of models that have failed
        yield Sample("luban_model_stale", (name,), float(bool(live.reason)))
        yield Sample("luban_model_loads_total", (name,), live.num_loaded)
        yield Sample("luban_model_refusals_total", (name,), live.num_refused)


class QueueGauges:
    """How many questions wait for a model."""

    def __init__(self, batcher: Batcher, limit: int) -> None:
        self._batcher = batcher
        self._limit = limit

    def figures(self) -> Iterator[Sample]:
        """Now, and at most."""
        yield Sample("luban_queue_requests", (), self._batcher.num_waiting)
        yield Sample("luban_queue_limit_requests", (), self._limit)
