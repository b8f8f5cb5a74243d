"""The desk: the one path of a question, whatever protocol it came by.

    admit ─► begin: pick, options, rows ─► batcher ─► finish: merge, finishers, listeners ─► reply

Joints: a `Guard` looks at who comes, before a body is read, and may send it away; a `Finisher` may add to
the answers before they go out; a `Listener` learns of a reply, and must return at once. The three are
lists in the order in which they are asked. Runs on one event loop. Knows no protocol, no key, no limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from luban.serve.asking import fault, read_options
from luban.serve.batching import Batcher
from luban.serve.fleet import Fleet, Picked
from luban.serve.question import Answer, Entry, Question, Reply

Leave = Callable[[], None]


class Guard(Protocol):
    """Looks at every entry. Must not block."""

    def enter(self, entry: Entry) -> Leave | None:
        """Raise Problem to send it away. What is returned is called once the request has left."""


class Finisher(Protocol):
    """May add members to answers, or to the reply; must not block, and must not take anything away."""

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
    picked: Picked
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
    ) -> None:
        self.fleet = fleet
        self._batcher = batcher
        self._guards = guards
        self._finishers = finishers
        self._listeners = listeners
        self._watchers = [one for one in listeners if isinstance(one, Watcher)]

    def admit(self, entry: Entry) -> Admission:
        """Ask the guards. Raises Problem where one sends it away."""
        admission = Admission()
        try:
            for guard in self._guards:
                leave = guard.enter(entry)
                if leave is not None:
                    admission.leaves.append(leave)
        except BaseException:
            admission.leave()
            raise
        return admission

    def begin(self, question: Question) -> Pending:
        """Pick who answers and hand in the rows. Raises Problem."""
        started = time.perf_counter()
        picked = self.fleet.pick(question)
        served = picked.arm.served
        options = read_options(question.options, served.bundle.task.Options)
        faults = [fault(row, served.columns, served.lists) for row in question.rows]
        good = question.rows
        if faults.count(None) != len(faults):
            good = [row for row, reason in zip(question.rows, faults, strict=True) if reason is None]
        future = self._batcher.submit(served, good, options, question.deadline)
        return Pending(question, picked, faults, future, started)

    def finish(self, pending: Pending) -> Reply:
        """The reply, once the future is done; raises what it holds."""
        try:
            answers = _merged(pending.faults, pending.future.result())
        except Exception as error:
            for watcher in self._watchers:
                watcher.failed(pending.question, pending.picked, error)
            raise
        num_errors = sum(1 for one in answers if "error" in one)
        reply = Reply(pending.picked, answers, num_errors)
        for finisher in self._finishers:
            finisher.finish(pending.question, reply)
        reply.seconds = time.perf_counter() - pending.started
        for listener in self._listeners:
            listener.answered(pending.question, reply)
        return reply

    async def ask(self, question: Question) -> Reply:
        """Both. Raises Problem."""
        pending = self.begin(question)
        await asyncio.wait([pending.future])
        return self.finish(pending)


def _merged(faults: list[str | None], answers: list[Answer]) -> list[Answer]:
    """Answers and faults in the order of the rows."""
    if len(answers) == len(faults):
        return answers
    rest = iter(answers)
    found: list[dict[str, Any]] = [next(rest) if reason is None else {"error": reason} for reason in faults]
    return found
