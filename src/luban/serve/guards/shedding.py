"""Shedding: requests that would only wait are sent away at once, so that the others are answered in time.

A guard and a listener. At most so many requests are under way in one process; how many is found by what answers
take. What one takes on a busy server is what is under way over what is answered a second (Little's law), so the bound
is moved in proportion: by target over the median answer of a short window. Decided here:

- the median, because a few large questions are no queue, and the fastest answer hides one: whoever comes last into a
  batch waits for it alone;
- the target is a number of the settings. It cannot be learnt: a server cannot tell callers who wait for an answer
  before they ask again, and share large batches, from an endless stream, whose queue looks the same from inside;
- it is at least three times what an answer takes when nearly nobody asks, for a slow model is no queue;
- windows are short, because what is let in before the bound is known is late; and while small questions wait behind a
  batch that has been at work for as long as the target, which no answer tells of yet, no more come in. What is slow by
  itself (an upload, a model that is loaded, reasons) has no part in that: it would let few clients lock out all;
- a request is sent away before its body is read, with 503 and `Retry-After`, by the protocol itself where that can
  be (`refusing.py`): a refusal must cost a small part of an answer, or twice the load could not be shed;
- nobody is put in line: under overload, to wait is to be late.

Belongs to one event loop. Knows no caller and no model.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from luban.serve.guards.limits_config import LimitsConfig
from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from luban.serve.desk import Leave
    from luban.serve.question import Entry, Question, Reply

WINDOW_S = 0.03
MIN_REPLIES = 8
FEW = 2
"""Requests under way with which there is no queue."""
ALLOWED_TIMES = 3.0
MOST_LESS, MOST_MORE = 0.5, 1.25
"""How far the bound moves in one window under load."""


class Shedding:
    """How many requests are under way, and how many may be."""

    def __init__(self, config: LimitsConfig) -> None:
        self._most = config.max_concurrent
        self._least = min(config.min_concurrent, config.max_concurrent)
        self._target_s = None if config.target_ms is None else config.target_ms / 1000
        self.limit = self._most
        """Requests that may be under way now."""
        self.under_way = 0
        self.num_shed = 0
        self._unloaded_s = float("inf")
        self._taken: list[float] = []
        """What the answers of this window took."""
        self._has_shed = False
        self._peak = 0
        self._window_began = time.monotonic()
        self.queue: Callable[[], tuple[int, float]] = lambda: (0, 0.0)
        """Small questions that wait for a thread, and how long it has been at work."""

    def enter(self, entry: Entry) -> Leave:
        """Raises Problem where too many are under way."""
        if self.is_full():
            self.sent_away()
            raise overloaded()
        self.under_way += 1
        if self.under_way > self._peak:
            self._peak = self.under_way
        return self._leave

    def is_full(self) -> bool:
        """Whether whoever comes now is to be sent away."""
        return self.under_way >= self.limit or (self.under_way >= self._least and self._is_stuck())

    def sent_away(self) -> None:
        """Count one who was."""
        self.num_shed += 1
        self._has_shed = True

    def _leave(self) -> None:
        self.under_way -= 1

    def _is_stuck(self) -> bool:
        if self._target_s is None:
            return False
        waiting, since_s = self.queue()
        return waiting >= self._least and since_s > self._allowed_s()

    def _allowed_s(self) -> float:
        """What half of the answers may take at most, in seconds."""
        return max(self._target_s or 0.0, ALLOWED_TIMES * self._unloaded_s)

    def answered(self, question: Question, reply: Reply) -> None:
        """Learn what an answer took."""
        if self._target_s is None:
            return
        seconds = reply.seconds
        self._taken.append(seconds)
        if seconds < self._unloaded_s:
            self._unloaded_s = seconds
        elif self._peak <= FEW:  # A version that is slower than the last is learnt over some answers.
            self._unloaded_s += 0.1 * (seconds - self._unloaded_s)
        if len(self._taken) >= MIN_REPLIES and (now := time.monotonic()) >= self._window_began + WINDOW_S:
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        median, allowed = sorted(self._taken)[len(self._taken) // 2], self._allowed_s()
        if median > allowed:
            # By the number of those that really came, so that a bound that was never reached shrinks at once.
            self.limit = max(self._least, int(min(self.limit, self._peak) * max(MOST_LESS, allowed / median)))
        elif self._has_shed:
            share = min(MOST_MORE, allowed / max(median, 1e-6))
            self.limit = min(self._most, max(self.limit + (share > 1.1), int(self.limit * share)))
        else:
            self.limit = min(self._most, self.limit + max(1, self.limit // 16))
        self._taken, self._has_shed, self._peak = [], False, self.under_way
        self._window_began = now


def overloaded() -> Problem:
    """What to say to one who is sent away."""
    detail = "As many requests are under way as are answered in time, and more would only wait."
    return Problem("overloaded", detail, "Ask again in a second, or another server.", None, {"retry-after": "1"})
