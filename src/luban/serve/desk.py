"""The desk: the one path of a question, whatever protocol it came by.

    admit ─► begin: pick, options, rows ─► batcher ─► finish: merge, finishers, listeners ─► reply

Joints: a `Guard` looks at who comes, before a body is read, and may send it away; an `Inspector` looks at the rows
before they are asked; a `Finisher` may add to the answers before they go out; a `Listener` learns of a reply,
and must return at once. They are lists in the order in which they are asked. Reasons, where they are asked
for, are looked for between batcher and finish. Runs on one event loop. Knows no protocol, no key, no limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from luban.serve.batches.batching import Batcher, too_late
from luban.serve.fleet.fleet import Fleet
from luban.serve.fleet.routing import Picked, Routing
from luban.serve.fleet.waking import LATER
from luban.serve.http.asking import faults_of, read_options
from luban.serve.http.problems import Problem
from luban.serve.question import Answer, Entry, Question, Reply

if TYPE_CHECKING:
    from luban.serve.fleet.cache import ResponseCache, Submit
    from luban.serve.fleet.live import Served
    from luban.serve.learning.reasons import Reasons

Leave = Callable[[], None]


class Guard(Protocol):
    """Looks at every entry. Must not block."""

    def enter(self, entry: Entry) -> Leave | None:
        """Raise Problem to send it away. What is returned is called once the request has left."""


class Inspector(Protocol):
    """Looks at the rows of a question before they are asked. Must not block."""

    def inspect(self, question: Question, served: Served, faults: list[str | None]) -> None:
        """Raise Problem to send all away, or put into `faults`, at a row's place, why this row is not asked."""


class Finisher(Protocol):
    """May add members to answers, or to the reply; must not block, and must not take anything away."""

    adds: Mapping[str, str]
    """What it may add to an answer, by name: string, number, boolean or array. A file of answers has columns of it."""

    def finish(self, question: Question, reply: Reply) -> None:
        """Change `reply` in place."""


class Listener(Protocol):
    """Learns of every reply once it is finished. Must not block; what it raises is a fault of the server."""

    def answered(self, question: Question, reply: Reply) -> None:
        """Look at both, change neither."""


@runtime_checkable
class Watcher(Listener, Protocol):
    """A listener that learns of questions without an answer, too."""

    def failed(self, question: Question, picked: Picked, error: BaseException) -> None:
        """Look; `error` goes on to whoever asked."""


@dataclass(slots=True)
class Admission:
    """An entry that was let in; `leave` exactly once."""

    leaves: list[Leave] = field(default_factory=list)

    def leave(self) -> None:
        """Tell all guards."""
        while self.leaves:
            self.leaves.pop()()


@dataclass(slots=True)
class Pending:
    """A question that was begun; its answers are in `future`, those of rows that are no rows in `faults`."""

    question: Question
    picked: Picked | None
    """Who answers; None while it is being loaded."""
    faults: list[str | None]
    future: asyncio.Future[list[Answer]]
    started: float


class Desk:
    """Takes questions, gives replies."""

    def __init__(
        self,
        fleet: Fleet,
        batcher: Batcher,
        guards: Sequence[Guard] = (),
        finishers: Sequence[Finisher] = (),
        listeners: Sequence[Listener] = (),
        reasons: Reasons | None = None,
        cache: ResponseCache | None = None,
        inspectors: Sequence[Inspector] = (),
    ) -> None:
        self.fleet = fleet
        self._batcher = batcher
        self._guards = guards
        self._inspectors = inspectors
        self._finishers = finishers
        self._listeners = listeners
        self._watchers = [one for one in listeners if isinstance(one, Watcher)]
        self._reasons = reasons
        self._cache = cache

    def admit(self, entry: Entry) -> Admission:
        """Ask the guards. Raises Problem where one sends it away."""
        admission = Admission()
        began = time.perf_counter() if entry.track.spans is not None else 0.0
        try:
            for guard in self._guards:
                leave = guard.enter(entry)
                if leave is not None:
                    admission.leaves.append(leave)
        except BaseException:
            admission.leave()
            raise
        finally:
            if began:
                entry.track.span("admit", began, time.perf_counter())
        return admission

    def begin(self, question: Question) -> Pending:
        """Pick who answers and hand in the rows. Raises Problem."""
        started = time.perf_counter()
        picked = self.fleet.pick(question)
        return self._submit(question, picked, started) if picked is not None else self._later(question, started)

    def _submit(self, question: Question, picked: Picked, started: float) -> Pending:
        served = picked.arm.served
        options = read_options(question.options, served.bundle.task.Options)
        faults = faults_of(question.rows, served.columns, served.lists)
        for inspector in self._inspectors:
            inspector.inspect(question, served, faults)
        good = question.rows
        if faults.count(None) != len(faults):
            good = [row for row, reason in zip(question.rows, faults, strict=True) if reason is None]
        track = question.entry.track
        track.picked, track.num_rows = picked, len(question.rows)
        submit: Submit = self._batcher.submit if self._cache is None or question.explain else self._cache.submit
        future = submit(served, good, options, question.deadline, track)
        if question.explain and self._reasons is not None:
            future = asyncio.ensure_future(_reasoned(self._reasons, question, served, good, future))
        return Pending(question, picked, faults, future, started)

    def _later(self, question: Question, started: float) -> Pending:
        """The same once the model is loaded: the question waits for that, within its time and `memory.wait_s`."""
        loop = asyncio.get_running_loop()
        pending = Pending(question, None, [], loop.create_future(), started)
        left_s, wait_s = question.deadline - time.monotonic(), self.fleet.memory.config.wait_s
        too_long = too_late() if left_s < wait_s else _still_loading(question.entry.model)
        timer = loop.call_later(max(min(left_s, wait_s), 0), _fail, pending, too_long)

        self.fleet.load(question).add_done_callback(partial(self._loaded, pending, timer))
        return pending

    def _loaded(self, pending: Pending, timer: asyncio.TimerHandle, routing: asyncio.Future[Routing]) -> None:
        if pending.future.done():
            return
        question = pending.question
        try:
            routing.result()
            picked = self.fleet.pick(question)
            if picked is None:  # It was being exchanged at this instant.
                self.fleet.load(question).add_done_callback(partial(self._loaded, pending, timer))
                return
            begun = self._submit(question, picked, time.perf_counter())
        except Exception as error:
            _fail(pending, error)
        else:
            timer.cancel()
            # What an answer takes is without the load, which says nothing of a queue.
            pending.picked, pending.faults, pending.started = picked, begun.faults, begun.started
            begun.future.add_done_callback(partial(_pass_on, pending.future))

    def finish(self, pending: Pending) -> Reply:
        """The reply, once the future is done; raises what it holds."""
        try:
            answers = _merged(pending.faults, pending.future.result())
        except Exception as error:
            if pending.picked is not None:
                for watcher in self._watchers:
                    watcher.failed(pending.question, pending.picked, error)
            raise
        assert pending.picked is not None, "who answered was picked"
        num_errors = sum(["error" in one for one in answers])
        reply = Reply(pending.picked, answers, num_errors)
        for finisher in self._finishers:
            finisher.finish(pending.question, reply)
        reply.seconds = time.perf_counter() - pending.started - pending.question.reasons_s
        for listener in self._listeners:
            listener.answered(pending.question, reply)
        if pending.question.reasons is not None:
            # New dictionaries: listeners keep those without reasons.
            added = _merged(pending.faults, pending.question.reasons)
            reply.answers = [{**answer, **more} for answer, more in zip(reply.answers, added, strict=True)]
        return reply

    async def ask(self, question: Question) -> Reply:
        """Both. Raises Problem."""
        pending = self.begin(question)
        await asyncio.wait([pending.future])
        return self.finish(pending)


async def _reasoned(
    reasons: Reasons, question: Question, served: Served, rows: list[Any], future: asyncio.Future[list[Answer]]
) -> list[Answer]:
    """The answers, once reasons for them were looked for, too."""
    answers = await future
    began = time.perf_counter()
    question.reasons = await reasons.of(served, rows, answers, question.deadline)
    question.reasons_s = time.perf_counter() - began
    question.entry.track.span("explain", began, began + question.reasons_s)
    return answers


def _fail(pending: Pending, error: Exception) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)
        pending.future.exception()  # Whoever asked may have gone; that is no fault of the program.


def _pass_on(outer: asyncio.Future[list[Answer]], inner: asyncio.Future[list[Answer]]) -> None:
    if outer.done():
        return
    if inner.cancelled():
        outer.cancel()
    elif (error := inner.exception()) is not None:
        outer.set_exception(error)
    else:
        outer.set_result(inner.result())


def _still_loading(model: str) -> Problem:
    return Problem("no-model", f"`{model}` is still being loaded.", "Ask again in a second.", None, LATER)


def _merged(faults: list[str | None], answers: list[Answer]) -> list[Answer]:
    """Answers and faults in the order of the rows."""
    if len(answers) == len(faults):
        return answers
    rest = iter(answers)
    found: list[dict[str, Any]] = [next(rest) if reason is None else {"error": reason} for reason in faults]
    return found
