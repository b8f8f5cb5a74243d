"""Shadows: versions that are asked the same after the reply has gone, compared with what was answered, never heard.

Decided here: nobody waits for a shadow. It is asked in one thread of its own, which rests for as long as it worked, so
that it takes half a core at most; replies bounded in number and bytes may wait for it, the others are dropped and
counted. A shadow that raises, hangs, or cannot read the rows, hurts nobody; one that raises is counted. Compared are
the first column, where it holds classes or tags (a share of agreement), and all numbers that both answer with (mean
absolute difference: of probabilities, or of the predicted number).
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luban.release.versions import DEFAULT
from luban.serve.http.asking import fault, read_options
from luban.serve.http.problems import Problem
from luban.serve.traffic.counts import Place
from luban.serve.watch.figures import Sample

if TYPE_CHECKING:
    from luban.serve.fleet.routing import Arm
    from luban.serve.fleet.served import Served
    from luban.serve.question import Answer, Question, Reply
    from luban.serve.traffic.counting import Figures

LOG = logging.getLogger("luban.serve")
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Most bytes of the bodies whose rows wait: `traffic.shadow_waiting` pictures may be gigabytes."""
UNKNOWN_BYTES = 64 * 1024
"""What a body is taken to have that came without a length."""
STOP_S = 2.0
"""How long a server that stops waits for the shadow that is being asked; it may hang."""


@dataclass(slots=True)
class Compared:
    """What came of one shadow: counts of replies (`asked` = `failed` + those compared), then of rows and numbers."""

    asked: int = 0
    failed: int = 0
    dropped: int = 0
    rows: int = 0
    same: int = 0
    numbers: int = 0
    difference: float = 0.0
    shadow_s: float = 0.0
    answered_s: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {name: getattr(self, name) for name in self.__slots__}

    def add(self, found: dict[str, Any]) -> None:
        """Add another server's."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + found.get(name, 0))

    def told(self) -> dict[str, float | int | None]:
        """As a person reads it: shares and means, None of nothing."""
        replies = self.asked - self.failed
        return {
            "asked": self.asked,
            "failed": self.failed,
            "dropped": self.dropped,
            "agreement": self.same / self.rows if self.rows else None,
            "mean_difference": self.difference / self.numbers if self.numbers else None,
            "mean_ms": 1000 * self.shadow_s / replies if replies else None,
            "answered_mean_ms": 1000 * self.answered_s / replies if replies else None,
        }


@dataclass(frozen=True, slots=True)
class _Waiting:
    arm: Arm
    question: Question
    reply: Reply
    compared: Compared

    @property
    def num_bytes(self) -> int:
        return self.question.entry.num_bytes or UNKNOWN_BYTES


class Shadows:
    """A listener of the desk, and a source of figures. `max_waiting` replies may wait."""

    def __init__(self, max_waiting: int) -> None:
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(max_waiting)
        self._compared: dict[tuple[str, int, int, str], Compared] = {}
        # Each is changed by one thread alone: by the loop, and by that of the shadows.
        self._came_bytes = self._went_bytes = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def answered(self, question: Question, reply: Reply) -> None:
        """Let the shadows be asked later."""
        for arm in reply.picked.shadows:
            key = question.entry.model, reply.picked.revision, arm.served.version or 0, arm.name
            compared = self._compared.get(key)
            if compared is None:
                compared = self._compared[key] = Compared()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="luban-shadow", daemon=True)
                self._thread.start()
            waiting = _Waiting(arm, question, reply, compared)
            if self._came_bytes - self._went_bytes + waiting.num_bytes > MAX_WAITING_BYTES:
                compared.dropped += 1
                continue
            try:
                self._queue.put_nowait(waiting)
            except queue.Full:
                compared.dropped += 1
            else:
                self._came_bytes += waiting.num_bytes

    def stop(self) -> None:
        """End; what waits is dropped. A shadow that hangs is left to itself: its thread holds up no process."""
        self._stop.set()
        if self._thread is not None:
            with contextlib.suppress(queue.Full):  # Then it is at work, and looks at the flag before the next.
                self._queue.put_nowait(None)
            self._thread.join(STOP_S)

    def rows(self, deployment: str = DEFAULT) -> Figures:
        """What was compared, for the ledger."""
        return {
            Place(model, deployment, revision, version): {"shadow": compared.to_json()}
            for (model, revision, version, _), compared in list(self._compared.items())
            if revision
        }

    def figures(self) -> Iterator[Sample]:
        """What was compared, for scrapes; of one shadow under several revisions together."""
        found: dict[tuple[str, str, str], Compared] = {}
        for (model, _, version, name), compared in list(self._compared.items()):
            found.setdefault((model, str(version or ""), name), Compared()).add(compared.to_json())
        for labels, one in found.items():
            yield Sample("luban_shadow_answers_total", (*labels, "yes"), one.same)
            yield Sample("luban_shadow_answers_total", (*labels, "no"), one.rows - one.same)
            yield Sample("luban_shadow_failures_total", labels, one.failed)
            yield Sample("luban_shadow_dropped_total", labels, one.dropped)
            mean = one.difference / one.numbers if one.numbers else 0.0
            yield Sample("luban_shadow_difference_ratio", labels, mean)

    def _run(self) -> None:
        while (waiting := self._queue.get()) is not None and not self._stop.is_set():
            started = time.perf_counter()
            self._ask(waiting)
            worked_s = time.perf_counter() - started
            self._went_bytes += waiting.num_bytes
            del waiting  # Who holds an arm keeps its version in memory.
            self._stop.wait(worked_s)

    def _ask(self, waiting: _Waiting) -> None:
        compared, reply = waiting.compared, waiting.reply
        started = time.perf_counter()
        compared.asked += 1
        try:
            answers = ask(waiting.arm.served, waiting.question)
            shadow_s = time.perf_counter() - started
            compare(compared, reply.answers, answers, list(waiting.arm.served.bundle.columns.items()))
        except Exception as error:  # Whatever a new version raises is what a shadow is there to find.
            compared.failed += 1
            if compared.failed == 1:
                LOG.warning("a shadow failed", extra={"fields": {"reason": str(error)}}, exc_info=error)
            return
        compared.shadow_s += shadow_s
        compared.answered_s += reply.seconds


def ask(served: Served, question: Question) -> list[Answer]:
    """One answer a row by this version. Raises Problem where it cannot read them, and whatever it raises."""
    options = read_options(question.options, served.bundle.task.Options)
    for row in question.rows:
        reason = fault(row, served.columns, served.lists)
        if reason is not None:
            raise Problem("wrong-shape", reason, "Send rows that both versions can read.")
    return list(served.bundle.predict(question.rows, options).rows()) if question.rows else []


def compare(
    compared: Compared, heard: Sequence[Answer], shadow: Sequence[Answer], columns: list[tuple[str, str]]
) -> None:
    """Add rows to what was compared; `columns` are the shadow's, name and JSON type. Errors agree with errors."""
    first = columns[0][0] if columns and columns[0][1] != "number" else None
    numbers = [name for name, kind in columns if kind == "number"]
    for ours, theirs in zip(heard, shadow, strict=True):
        if ("error" in ours) != ("error" in theirs):
            compared.rows += 1
        elif "error" in ours:
            compared.rows += 1
            compared.same += 1
        else:
            if first is not None:
                compared.rows += 1
                compared.same += ours.get(first) == theirs.get(first)
            for name in numbers:
                a, b = ours.get(name), theirs.get(name)
                if isinstance(a, (int, float)) and isinstance(b, (int, float)) and a == a and b == b:
                    compared.numbers += 1
                    compared.difference += abs(a - b)
