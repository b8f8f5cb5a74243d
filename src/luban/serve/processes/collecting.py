"""Python's collector of circles in a process that serves.

A request leaves no circles behind, so the collector need not look at what waits for answers again and again. But what
goes on beside requests does leave some (statements of SQLAlchemy with `in_`, errors with their tracebacks), a few
objects a second with all that they hold: waiting until there are twenty thousand, memory rose for a quarter of an hour.
Decided here: what is loaded before the first request is never looked at; the rest is looked through every `COLLECT_S`,
which takes about half a millisecond. Knows nothing of what it collects.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

COLLECT_S = 30.0
THRESHOLDS = (20_000, 20, 20)
"""Of the collector itself, which then comes by only where very much happens at once."""


class Collecting:
    """Of one process, which serves and does nothing else. `begin` once, then `now_and_then` often."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._due = 0.0

    def begin(self) -> None:
        """What is loaded now stays."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._due = self._ticks() + COLLECT_S

    def now_and_then(self) -> bool:
        """Collect, if `begin` was called and the last time is long enough ago. Whether it was."""
        if not self._due or self._ticks() < self._due:
            return False
        gc.collect()
        self._due = self._ticks() + COLLECT_S
        return True
