"""Threads in which a model is asked, and what is done where a call does not end.

A thread cannot be ended from outside: a call that hangs is given up, and other threads take the place of all. Knows
no queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from luban.serve.batches.asking import Asked

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served


class Calls(Protocol):
    """Learns of calls of a model that do not end in time (`breaker.py`)."""

    limit_s: float
    """Longest time of one call."""
    loop_since: float
    """Set to when a call on the event loop began, by `time.monotonic`; 0 where there is none."""

    def hangs(self, served: Served) -> None:
        """The thread of a call was given up."""

    def came_back(self, served: Served) -> None:
        """A call that was given up has ended after all."""


class Threads:
    """At most `num` calls at a time; where `calls` is given, none is waited for longer than its limit.

    Belongs to one event loop.
    """

    def __init__(self, num: int, calls: Calls | None) -> None:
        self._num = num
        self._calls = calls
        self._pool = self._made()
        self._at_work: dict[asyncio.Future[Any], float] = {}

    def _made(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._num, thread_name_prefix="luban-predict")

    def close(self) -> None:
        """End the threads; what waits for one is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def num_at_work(self) -> int:
        """Calls that have begun and not ended."""
        return len(self._at_work)

    @property
    def are_free(self) -> bool:
        """Whether one more call would begin at once."""
        return len(self._at_work) < self._num

    def longest_s(self) -> float:
        """Seconds that the oldest call has been at work; 0 where there is none."""
        return time.monotonic() - min(self._at_work.values()) if self._at_work else 0.0

    def start(
        self,
        served: Served,
        call: Callable[[], Asked],
        ended: Callable[[Asked | None], None],
        hangs: Callable[[float], None],
    ) -> None:
        """Begin a call. `ended` is told what it gave, None where nobody waits for that any more; before that, `hangs`
        is told the limit in seconds where the call is given up."""
        loop, calls = asyncio.get_running_loop(), self._calls
        work = loop.run_in_executor(self._pool, call)
        self._at_work[work] = time.monotonic()
        timer = None if calls is None else loop.call_later(calls.limit_s, self._give_up, work, served, hangs)

        def finished(work: asyncio.Future[Asked]) -> None:
            if timer is not None:
                timer.cancel()
            given_up = self._at_work.pop(work, None) is None
            if given_up:
                assert calls is not None, "only what is watched is given up"
                calls.came_back(served)
            ended(None if given_up or work.cancelled() else work.result())

        work.add_done_callback(finished)

    def _give_up(self, work: asyncio.Future[Asked], served: Served, hangs: Callable[[float], None]) -> None:
        if work.done():
            return
        del self._at_work[work]
        self._pool.shutdown(wait=False)
        self._pool = self._made()
        assert self._calls is not None, "only what is watched is given up"
        self._calls.hangs(served)
        hangs(self._calls.limit_s)
