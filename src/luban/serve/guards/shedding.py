"""Shedding: requests that would only wait are sent away at once, so that the others are answered in time.

A guard and a listener. At most so many requests are under way in one process; how many is found by what answers
take. What one takes on a busy server is what is under way over what is answered a second (Little's law), so the bound
is moved in proportion: by target over the median answer of a short window. Decided here:

- the median, because a few large questions are no queue, and the fastest answer hides one: whoever comes last into a
  batch waits for it alone;
- the target is a number of the settings, or learnt (`auto`): so much of what an answer takes on a calm day (`calm.py`)
  that one in a hundred takes about twice as long as then. Limits that learn by themselves what is calm are those of
  Netflix (concurrency-limits: gradient, after TCP Vegas) and Envoy (adaptive concurrency); that a queue which stands
  is told by what nearly all wait, not by the longest wait, is CoDel's thought (RFC 8289);
- with `auto` nothing is shed while `free_concurrent` or fewer are under way, unless they wait for very long. So many
  callers, each of whom waits for an answer before asking again, limit themselves, and who sends them away only makes
  them ask again sooner. The gradient limits do not know this: they shed for few clients that share large batches;
- who began to shed goes on until hardly anybody has to be sent away. Where many more come than are answered, as
  callers do who ask again at once, `free_concurrent` are let in for a moment, to see whether they limit themselves;
- a number is at least three times what an answer takes when nearly nobody asks, so that a slow model is not
  taken for a queue;
- windows are short, because what is let in before the bound is known is late; and while small questions wait behind a
  batch that has been at work for as long as the target, which no answer tells of yet, no more come in. What is slow by
  itself (an upload, a model that is loaded, reasons) has no part in that: it would let few clients lock out all;
- a request is sent away before its body is read, with 503 and `Retry-After`: that costs a small part of an answer,
  without which twice the load could not be shed;
- nobody is put in line: under overload, to wait is to be late.

Belongs to one event loop. Knows no caller and no model.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from luban.serve.guards.calm import Calm
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
OF_CALM_P99, OF_CALM_MEDIAN = 0.4, 1.25
"""What is learnt to be the target: the larger of these shares of a calm day's answers."""
PATIENCE_S, PATIENCE_TIMES = 1.0, 10.0
"""Few callers wait no longer than this, or so many times a calm day's 99th percentile."""
PROBE_FIRST_S, PROBE_TIMES, PROBE_LAST_S, PROBE_S = 5.0, 4.0, 80.0, 0.5
"""When it is first tried whether callers limit themselves, each time so many times later, at most; and for how long."""
LOOK_S, HARDLY_ANY, MANY = 1.0, 0.01, 4.0
"""How often it looks how many were sent away for one that was answered, and what is few and many of them."""
IDLE_S = 5.0
"""After so long without a request it is open to all."""


class Shedding:
    """How many requests are under way, and how many may be."""

    def __init__(self, config: LimitsConfig) -> None:
        self._most = config.max_concurrent
        self._least = min(config.min_concurrent, config.max_concurrent)
        self._is_on = config.target_ms is not None
        self._fixed_s = config.target_ms / 1000 if isinstance(config.target_ms, float) else None
        self._free = 0 if self._fixed_s is not None else config.free_concurrent
        self.limit = self._most
        """Requests that may be under way now."""
        self.under_way = 0
        self.num_shed = 0
        self.calm = Calm()
        self._unloaded_s = float("inf")
        self._taken: list[float] = []
        """What the answers of this window took."""
        self._has_shed = False
        self._peak = 0
        self._window_began = time.monotonic()
        self._is_open = self._is_on and self._fixed_s is None
        """Whether all are let in, whatever answers take, as long as they are few."""
        self._probe: tuple[int, float] | None = None
        """While it looks who would limit themselves: the bound before, and until when."""
        self._probe_after_s = PROBE_FIRST_S
        self._num_sent = self._num_answered = 0
        self._look_at = self._probe_at = self._idle_since = float("inf")
        self._answered_in_crowd = 0
        self.queue: Callable[[], tuple[int, float]] = lambda: (0, 0.0)
        """Small questions that wait for a thread, and how long it has been at work."""

    def enter(self, entry: Entry) -> Leave:
        """Raises Problem where too many are under way."""
        if not self.under_way and time.monotonic() - self._idle_since >= IDLE_S:
            self._open()
        if self.under_way >= self.limit or (self.under_way >= self._least and self._is_stuck()):
            self._send_away()
        self.under_way += 1
        if self.under_way > self._peak:
            self._peak = self.under_way
        return self._leave

    def _send_away(self) -> None:
        self.num_shed += 1
        self._num_sent += 1
        self._has_shed = True
        if self._probe is not None:
            self._end_probe()
        detail = f"{self.under_way} requests are under way, and more would only wait."
        raise Problem("overloaded", detail, "Ask again in a second, or another server.", None, {"retry-after": "1"})

    def _leave(self) -> None:
        self.under_way -= 1
        if not self.under_way and self._free and not self._is_open:
            self._idle_since = time.monotonic()

    def _is_stuck(self) -> bool:
        if not self._is_on or self._is_open or self._probe is not None:
            return False
        waiting, since_s = self.queue()
        return waiting >= self._least and since_s > self.target_s()

    def target_s(self) -> float:
        """What half of the answers may take at most, in seconds; 0 while nothing is known of a calm day."""
        if self._fixed_s is not None:
            return max(self._fixed_s, ALLOWED_TIMES * self._unloaded_s)
        if self.calm.p99_s is None or self.calm.median_s is None:
            return 0.0
        return max(OF_CALM_P99 * self.calm.p99_s, OF_CALM_MEDIAN * self.calm.median_s)

    def answered(self, question: Question, reply: Reply) -> None:
        """Learn what an answer took."""
        if not self._is_on:
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
        if self._fixed_s is None and (self.limit <= self._least or not self._has_shed):
            # Under overload only with the fewest that may be: else its own queue would pass for calm, and let more in.
            self.calm.learn(self._taken, now - self._window_began)
        median, target = sorted(self._taken)[len(self._taken) // 2], self.target_s()
        if self._is_open:
            if self._is_crowded(median) and median > target:
                # In one step: what comes in until the bound is right is late.
                self._move(target / median)
                self._is_open, self._probe_at, self._look_at = False, now + self._probe_after_s, now + LOOK_S
                self._num_sent = self._num_answered = 0
        elif self._probe is not None:
            if now >= self._probe[1]:
                self._open()
        else:
            self._adjust(median, target, now)
        self._num_answered += len(self._taken)
        self._taken, self._has_shed, self._peak = [], False, self.under_way
        self._window_began = now

    def _is_crowded(self, median: float) -> bool:
        """Whether more are under way than are free, or few wait for very long, all the while that as many are answered.

        A burst passes meanwhile, a moment in which the machine did something else, and what nobody waits for now.
        """
        patience = max(PATIENCE_S, PATIENCE_TIMES * (self.calm.p99_s or 0.0))
        lasts = self.under_way > self._free or median > patience
        self._answered_in_crowd = self._answered_in_crowd + len(self._taken) if lasts else 0
        return self._answered_in_crowd > self._free

    def _adjust(self, median: float, target: float, now: float) -> None:
        if median > target:
            self._move(max(MOST_LESS, target / median))
        elif self._has_shed:
            share = min(MOST_MORE, target / max(median, 1e-6))
            self.limit = min(self._most, max(self.limit + (share > 1.1), int(self.limit * share)))
        else:
            self.limit = min(self._most, self.limit + max(1, self.limit // 16))
        if now >= self._look_at:
            self._look_who_asks(now)

    def _look_who_asks(self, now: float) -> None:
        sent, answered = self._num_sent, self._num_answered
        self._num_sent, self._num_answered, self._look_at = 0, 0, now + LOOK_S
        if sent <= HARDLY_ANY * answered:
            self._probe_after_s = PROBE_FIRST_S
            self._open()
        elif sent > MANY * answered and now >= self._probe_at:
            self._probe, self.limit = (self.limit, now + PROBE_S), max(self.limit, min(self._free, self._most))

    def _move(self, share: float) -> None:
        """By the number of those that really came, so that a bound that was never reached shrinks at once."""
        self.limit = max(self._least, int(min(self.limit, self._peak) * share))

    def _open(self) -> None:
        self._is_open, self._probe, self.limit = True, None, self._most
        self._look_at = self._probe_at = self._idle_since = float("inf")
        self._answered_in_crowd = 0

    def _end_probe(self) -> None:
        assert self._probe is not None
        self.limit, self._probe = self._probe[0], None
        self._probe_after_s = min(PROBE_TIMES * self._probe_after_s, PROBE_LAST_S)
        self._probe_at = time.monotonic() + self._probe_after_s
