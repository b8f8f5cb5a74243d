"""What is read off other parts of the server when somebody scrapes: models and arms, the queue.

Each class here looks at attributes of one part, which need not know that it is watched. Counts nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from luban.serve.figures import Sample

if TYPE_CHECKING:
    from luban.serve.batching import Batcher
    from luban.serve.fleet import Fleet
    from luban.serve.live import LiveBundle


class FleetGauges:
    """Which versions answer, with which shares, and what was refused."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def figures(self) -> Iterator[Sample]:
        """One look at every model."""
        lives = [self._fleet.live(name) for name in self._fleet.names()]
        yield Sample("luban_ready", (), float(any(live.now is not None for live in lives)))
        loaded: set[tuple[str, str]] = set()
        for live in lives:
            yield from self._model(live)
            routing = live.routing
            if routing is None:
                continue
            for arm in (*routing.arms, *routing.shadows):
                version = str(arm.served.version or "")
                loaded.add((arm.served.name, version))
                weight = arm.weight if arm in routing.arms else 0.0
                yield Sample("luban_arm_weight_ratio", (arm.served.name, version, arm.name), weight)
        yield Sample("luban_loaded_models", (), len(loaded))

    @staticmethod
    def _model(live: LiveBundle) -> Iterator[Sample]:
        now, name = live.now, live.name
        if now is not None:
            yield Sample("luban_model_info", (now.name, str(now.version or ""), now.bundle.identity), 1)
            yield Sample("luban_model_version", (now.name,), now.version or 0)
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
