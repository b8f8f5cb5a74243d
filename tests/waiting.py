"""Waiting for what becomes so, and clocks that a test moves: so that no test depends on how fast its machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
BOUND_S = 120.0
"""A wait that takes longer is in vain, also on a machine that has much else to do."""


def until(
    condition: Callable[[], T],
    why: str = "",
    seconds: float = BOUND_S,
    every_s: float = 0.02,
    log: Path | Callable[[], str] | None = None,
) -> T:
    """Wait until something is so, and give what it was. Raises AssertionError after the bound, with the end of `log`:
    what a server said whose doing was waited for."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            said = "" if log is None else log.read_text("utf-8", "replace") if isinstance(log, Path) else log()
            raise AssertionError(f"waited {seconds:g} s in vain {why and 'for ' + why}\n{said[-5000:]}")
        time.sleep(every_s)
    return found


class Clock:
    """`time` for one module, ahead of the true one: `monkeypatch.setattr("luban.….time", clock)`."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def time(self) -> float:
        return time.time() + self.ahead_s

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)
