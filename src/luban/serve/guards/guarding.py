"""What guards a model, put together: shedding, limits, the breaker, rows outside of training.

The office hands in settings and a door, and takes from here guards, inspectors, finishers, listeners and
figures. Order matters: who must be shed is sent away first, for that costs least. Where there is no door nobody comes
in, so nobody is shed or limited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from luban.serve.guards.breaker import Breaker, Watchdog
from luban.serve.guards.counts import Counts, LocalCounts, SharedCounts
from luban.serve.guards.limits import Limits
from luban.serve.guards.outside import Outside
from luban.serve.guards.pixels import Pixels
from luban.serve.guards.shedding import Shedding
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from luban.serve.config import ServeConfig
    from luban.serve.desk import Finisher, Guard, Inspector, Listener
    from luban.serve.guards.door import Door
    from luban.serve.guards.limits_config import LimitsConfig
    from luban.serve.guards.redis_counts import RedisCounts

COUNTS = "limits"
"""The file of limits in the folder that worker processes share."""


class Guarding:
    """The guards of one office. Belongs to one event loop."""

    def __init__(self, config: ServeConfig, door: Door | None) -> None:
        self._redis: RedisCounts | None = None
        self._shared: SharedCounts | None = None
        self.shedding = Shedding(config.limits)
        self.limits = Limits(config.limits, LocalCounts()) if door is None else self._limits(config.limits, door)
        self.breaker = Breaker(config.breaker)
        self._watchdog: Watchdog | None = None
        outside = Outside(config.rows)
        pixels = Pixels(config.rows)
        self.guards: Sequence[Guard] = ()
        self.inspectors: Sequence[Inspector] = (pixels, self.breaker, outside)
        self.finishers: Sequence[Finisher] = (outside,)
        self.listeners: Sequence[Listener] = (self.breaker,)
        if door is not None:
            self.guards = (self.shedding, self.limits)
            self.inspectors = (pixels, self.breaker, self.limits, outside)
            self.listeners = (self.shedding, self.breaker)

    def _limits(self, config: LimitsConfig, door: Door) -> Limits:
        return Limits(config, self._counts(config, door.shared), door.limit_of)

    def _counts(self, config: LimitsConfig, shared: Path | None) -> Counts:
        if config.redis is not None:
            from luban.serve.guards.redis_counts import RedisCounts

            self._redis = RedisCounts(config.redis)
            return self._redis
        if shared is not None:
            self._shared = SharedCounts(shared / COUNTS)
            return self._shared
        return LocalCounts()

    def watch(self, end: Callable[[], None] | None) -> None:
        """Watch the event loop; `end` is called where a model hangs on it."""
        self._watchdog = Watchdog(self.breaker, end)

    def close(self) -> None:
        """Stop watching, give files back."""
        if self._watchdog is not None:
            self._watchdog.close()
        if self._shared is not None:
            self._shared.close()

    def unready(self) -> str:
        """Why this process should be given no more requests; "" if all is well."""
        return self.breaker.unready()

    def figures(self) -> Iterator[Sample]:
        """What was sent away, and why."""
        yield Sample("luban_open_requests", (), self.shedding.under_way)
        yield Sample("luban_shed_requests_total", (), self.shedding.num_shed)
        yield Sample("luban_concurrency_limit_requests", (), self.shedding.limit)
        yield Sample("luban_limited_requests_total", (), self.limits.num_refused)
        yield Sample("luban_limits_lost", (), float(self._redis is not None and self._redis.lost))
        yield from self.breaker.figures()
