"""The desk with all that belongs to it, made of settings and state: by a server, and by a process that does jobs.

Guards, batcher, cache, marks, records, deployments, figures. That both make it here is why a row of a job is answered
as a question is. What differs follows from one thing, whether anybody comes in (`door`). In a process that does jobs
nobody does: who handed a job in was looked at by the server, so there are no guards and no limits here; and nobody
waits, so records are never left out (`records.py`). Belongs to one event loop. Knows no protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luban.serve.batches.batching import Batcher
from luban.serve.desk import Desk, Finisher, Listener
from luban.serve.fleet.cache import ResponseCache
from luban.serve.guards.guarding import Guarding
from luban.serve.learning.learning import Learning
from luban.serve.traffic.deployed import Deployed
from luban.serve.watch.gauges import FleetGauges, QueueGauges
from luban.serve.watch.metrics import Metrics
from luban.serve.watch.slo import needs_bound

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.guards.door import Door
    from luban.store.home import Home


class Office:
    """The desk and its surroundings. `home` is the project's state; None for a bundle from a folder, which has none.

    `door`: where callers come in; None in a process that does jobs.
    """

    def __init__(self, fleet: Fleet, config: ServeConfig, home: Home | None, door: Door | None) -> None:
        self.metrics = Metrics(needs_bound(config.slo))
        self.guarding = Guarding(config, door)
        self._batcher = Batcher(config.num_threads, config.max_waiting, config.batching, self.guarding.breaker)
        self.guarding.shedding.queue = self._batcher.queue
        self.learning = Learning(fleet, config, home, patient=door is None)
        self.deployed = Deployed(fleet, config, home)
        self.finishers: Sequence[Finisher] = (*self.guarding.finishers, *self.learning.finishers)
        cache = ResponseCache(self._batcher.submit, config.cache) if config.cache.max_mb is not None else None
        parts = (fleet, self._batcher, self.guarding.guards, self.finishers, self._listeners())
        self.desk = Desk(*parts, self.learning.reasons, cache, self.guarding.inspectors)
        self.learning.tell(self.metrics)
        self.deployed.tell(self.metrics)
        for source in (self.guarding, FleetGauges(fleet), QueueGauges(self._batcher, config.max_waiting)):
            self.metrics.add(source)
        self.metrics.add(self._batcher.runs)
        if cache is not None:
            self.metrics.add(cache)

    def _listeners(self) -> Sequence[Listener]:
        return (self.metrics, *self.guarding.listeners, *self.learning.listeners, *self.deployed.listeners)

    def close(self) -> None:
        """Write what waits, and end the threads; questions that wait for one are dropped."""
        self._batcher.close()
        self.guarding.close()
        self.learning.close()
        self.deployed.close()
