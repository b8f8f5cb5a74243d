"""The circuit breaker around calls of a model (after Nygard, Release It!, 2007): one for each version.

    closed ── failures in a row ──► open ── open_s ──► half open: one question is tried ──► closed, or open again

What counts as a failure: the model raises; a call takes longer than `call_limit_s`; it gives no number for any row of
a question. An error of a row's own (a text where a number must be) is none, nor is a client's deadline. One
answer closes it again, so one client's poisonous row does not open it for others that are answered.

A call that hangs cannot be ended from outside: a thread has no switch. So the thread is given up, and others take
its place (`batching.py`); it is counted until it comes back by itself, and where too many are lost `/ready`
says 503, for only a new process helps. On the event loop nothing could be given up; `Watchdog` ends the process.

Belongs to one event loop. Knows no protocol.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from luban.bundle.bundle import NO_NUMBER
from luban.serve.guards.breaker_config import BreakerConfig
from luban.serve.http.problems import Problem
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.serve.fleet.routing import Picked
    from luban.serve.fleet.served import Served
    from luban.serve.question import Question, Reply

LOG = logging.getLogger("luban.serve")
HUNG_STATUS = 75
"""The exit status (EX_TEMPFAIL) of a process whose event loop hangs in a model."""


@dataclass(slots=True)
class _State:
    """One version's. `open_until` by `time.monotonic`, 0 where it is closed; `trying`: the one question being tried."""

    name: str
    failures: int = 0
    open_until: float = 0.0
    trying: Question | None = None
    tried_at: float = 0.0
    hung: int = 0


class Breaker:
    """An inspector of questions that watches what became of them."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._states: WeakKeyDictionary[Bundle, _State] = WeakKeyDictionary()
        self._has_failed = False
        """Whether any version ever did: most servers need not look for its state at every question."""
        self.limit_s = config.call_limit_s
        """Longest time of one call."""
        self.loop_since = 0.0
        """When the call on the event loop began, by `time.monotonic`; 0 where there is none."""
        self.num_hung = 0
        """Threads that hang now."""

    def inspect(self, question: Question, served: Served, faults: list[str | None]) -> None:
        """Raises Problem where this version is not asked now."""
        state = self._states.get(served.bundle) if self._has_failed else None
        if state is None or not state.open_until:
            return
        now = time.monotonic()
        left = state.open_until - now
        if left <= 0 and state.hung < self._config.max_hung and self._may_try(state, now):
            state.trying, state.tried_at = question, now
            return
        detail = f"The model failed {state.failures} times in a row." if not state.hung else "The model hangs."
        headers = {"retry-after": str(max(1, round(left)))}
        raise Problem("model-failing", detail, "Ask again later; look at the server's log.", None, headers)

    def _may_try(self, state: _State, now: float) -> bool:
        """Nobody is trying, or whoever did has gone without a word."""
        return state.trying is None or now - state.tried_at > self._config.call_limit_s + 1

    def answered(self, question: Question, reply: Reply) -> None:
        """An answer, or rows without a number."""
        if reply.num_errors and reply.num_errors == len(reply.answers):
            errors = [answer.get("error") for answer in reply.answers]
            if NO_NUMBER in errors:
                self._failed(reply.arm.served, question, NO_NUMBER)
            elif (state := self._states.get(reply.arm.served.bundle)) is not None and state.trying is question:
                state.trying = None  # Only bad rows: that says nothing of the model.
            return
        state = self._states.get(reply.arm.served.bundle) if self._has_failed else None
        if state is not None and (state.failures or state.open_until):
            if state.open_until:
                LOG.info("breaker closed", extra={"fields": {"model": state.name}})
            state.failures, state.open_until, state.trying = 0, 0.0, None

    def failed(self, question: Question, picked: Picked, error: BaseException) -> None:
        """No answer: the model's fault, or a problem of the question."""
        served = picked.arm.served
        if isinstance(error, Problem):
            state = self._states.get(served.bundle)
            if state is not None and state.trying is question:
                state.trying = None
            return
        self._failed(served, question, type(error).__name__)

    def hangs(self, served: Served) -> None:
        """A call took too long, and its thread was given up."""
        self.num_hung += 1
        state = self._state(served)
        state.hung += 1
        # One is enough: the next would cost a thread, too.
        state.failures = max(state.failures, self._config.failures - 1)
        self._failed(served, None, f"no answer in {self._config.call_limit_s:g} s")

    def came_back(self, served: Served) -> None:
        """A thread that had been given up has ended after all."""
        self.num_hung -= 1
        self._state(served).hung -= 1

    def unready(self) -> str:
        """Why this process should be given no more requests; "" if all is well."""
        if self.num_hung < self._config.max_hung:
            return ""
        return f"{self.num_hung} threads hang in a model. Start this process again."

    def figures(self) -> Iterator[Sample]:
        """Whether each model's breaker is open: of several versions, the worst."""
        worst: dict[str, float] = {}
        now = time.monotonic()
        for state in list(self._states.values()):
            value = 0.0 if not state.open_until else 1.0 if state.open_until > now else 0.5
            worst[state.name] = max(worst.get(state.name, 0.0), value)
        yield from (Sample("luban_breaker_open", (name,), value) for name, value in worst.items())
        yield Sample("luban_hung_threads", (), self.num_hung)

    def _state(self, served: Served) -> _State:
        found = self._states.get(served.bundle)
        if found is None:
            self._has_failed = True
            found = self._states[served.bundle] = _State(served.name)
        return found

    def _failed(self, served: Served, question: Question | None, why: str) -> None:
        state = self._state(served)
        state.failures += 1
        tried = question is not None and state.trying is question
        if tried:
            state.trying = None
        if tried or state.failures >= self._config.failures or state.hung >= self._config.max_hung:
            if not state.open_until:
                fields = {"model": served.name, "version": served.version, "reason": why, "failures": state.failures}
                LOG.error("breaker opened", extra={"fields": fields})
            state.open_until = time.monotonic() + self._config.open_s


class Watchdog:
    """Watches calls that are made on the event loop, from a thread of its own.

    One that does not end stops every request of the process, `/health` among them. Nothing inside can be done about
    that; where `end` is given it is called: the process ends, and whoever watches it (systemd, Kubernetes, the parent
    of workers) starts another.
    """

    def __init__(self, breaker: Breaker, end: Callable[[], None] | None) -> None:
        self._breaker = breaker
        self._end = end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="luban-watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join(5)

    def _watch(self) -> None:
        told, limit_s = 0.0, self._breaker.limit_s
        while not self._stop.wait(min(1.0, limit_s / 4)):
            since = self._breaker.loop_since
            if since and since != told and time.monotonic() - since > limit_s:
                told = since
                LOG.critical("a model hangs on the event loop", extra={"fields": {"limit_s": limit_s}})
                if self._end is not None:
                    self._end()


def end_process(status: int = HUNG_STATUS) -> None:
    """End at once: the interpreter would wait for threads that hang."""
    for handler in LOG.handlers:
        handler.flush()
    sys.stdout.flush()
    os._exit(status)
