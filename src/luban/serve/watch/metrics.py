"""What is counted while requests run, and the figures of one application.

The hot path counts in plain integers and lists, a microsecond a request; names, labels and text are made when
somebody scrapes (`scrape.py`). Other parts are asked then (`add`), those that must look into the ledger in a thread
and at most every SLOW_S (`add_slow`). Labels are bounded: MAX_VALUES classes an arm and MAX_ARMS arms, the rest is
counted as `(other)`, so that no model can fill a monitoring server's memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from luban import __version__
from luban.serve.http.problems import KINDS, Problem
from luban.serve.watch.board import WRITE_S, Board
from luban.serve.watch.figures import FIGURES, Sample, Source
from luban.serve.watch.scrape import merged, render
from luban.serve.watch.tally import RATIOS, SECONDS, Tally

if TYPE_CHECKING:
    from luban.serve.fleet.routing import Picked
    from luban.serve.question import Answer, Question, Reply

MAX_VALUES = 100
MAX_ARMS = 50
OTHER = "(other)"
FAILURES = (500, 503, 504)
SLOW_S = 5.0
PATIENCE_S = 1.0
CONFIDENCE, OUTSIDE = "confidence", "outside"
_KEY = tuple[str, int | None, str]
_LOG = logging.getLogger("luban.serve")


class ArmCounts:
    """What was asked of one arm. `column` is the answers' column whose values are counted."""

    __slots__ = ("column", "confidence", "errors", "failed", "late", "marked", "outside", "rows", "seconds", "values")

    def __init__(self, column: str | None, bounds: tuple[float, ...]) -> None:
        self.column = column
        self.seconds = Tally(bounds)
        self.confidence = Tally(RATIOS)
        self.rows = self.errors = self.failed = self.late = self.outside = self.marked = 0
        self.values: dict[str, int] = {}

    def count(self, answers: list[Answer]) -> None:
        """Count classes and confidence."""
        column = self.column
        for answer in answers:
            confidence = answer.get(CONFIDENCE)
            if isinstance(confidence, float) and confidence == confidence:  # NaN would stay in the sum for ever
                self.confidence.observe(confidence)
            if answer.get(OUTSIDE):
                self.outside += 1
            value = answer.get(column) if column is not None else None
            if isinstance(value, str):
                self._value(value)
            elif isinstance(value, list):
                for one in value:
                    self._value(str(one))

    def _value(self, value: str) -> None:
        values = self.values
        if value not in values and len(values) >= MAX_VALUES:
            value = OTHER
        values[value] = values.get(value, 0) + 1


class Metrics:
    """All figures of one application. `latency_s`: a time that must be a bound of the histograms, for alerts."""

    def __init__(self, latency_s: float | None = None) -> None:
        self._bounds = SECONDS if latency_s is None else tuple(sorted({*SECONDS, latency_s}))
        self._requests: dict[tuple[str, int], Tally] = {}
        self._problems: dict[str, int] = {}
        self._arms: dict[_KEY, ArmCounts] = {}
        self._sources: list[Source] = []
        self._slow: list[Callable[[], list[Sample]]] = []
        self._known: list[Sample] = []
        self._asked = -SLOW_S
        self._asking: asyncio.Future[list[Sample]] | None = None
        self._process = ProcessCollector(registry=None)
        self.board: Board | None = None
        """Where all workers tell their figures; None where there is one process."""

    def add(self, source: Source) -> None:
        """Ask this part, too, at each scrape."""
        self._sources.append(source)

    def add_slow(self, ask: Callable[[], list[Sample]]) -> None:
        """Ask this, too, in a thread: it may look into the ledger."""
        self._slow.append(ask)

    def request(self, route: str, status: int, seconds: float, kind: str = "") -> None:
        """Count one request; `kind` is that of the problem it ended in, where nobody else tells."""
        if kind:
            self.problem(kind)
        tally = self._requests.get((route, status))
        if tally is None:
            tally = self._requests[route, status] = Tally(self._bounds)
        tally.observe(seconds)

    def problem(self, kind: str) -> None:
        """Count a request that got no answer; `kind` is one of `problems.KINDS`."""
        self._problems[kind] = self._problems.get(kind, 0) + 1

    def answered(self, question: Question, reply: Reply) -> None:
        """Count one question that was answered."""
        arm = self._arm(reply.picked)
        arm.seconds.observe(reply.seconds)
        arm.rows += len(reply.answers)
        arm.errors += reply.num_errors
        if reply.marked is not None:
            arm.marked += len(reply.marked)
        arm.count(reply.answers)

    def failed(self, question: Question, picked: Picked, error: BaseException) -> None:
        """Count one question that an arm did not answer."""
        arm = self._arm(picked)
        if isinstance(error, Problem) and error.kind == "too-late":
            arm.late += 1
        else:
            arm.failed += 1

    def arm(self, model: str, version: int | None, arm: str, column: str | None = None) -> ArmCounts:
        """The counts of one arm; made where there are none."""
        key: _KEY = (model, version, arm)
        found = self._arms.get(key)
        if found is None:
            if len(self._arms) >= MAX_ARMS:
                key = (OTHER, None, OTHER)
            found = self._arms.setdefault(key, ArmCounts(column, self._bounds))
        return found

    def _arm(self, picked: Picked) -> ArmCounts:
        served = picked.arm.served
        found = self._arms.get((served.name, served.version, picked.arm.name))
        return found if found is not None else self.arm(served.name, served.version, picked.arm.name, served.counted)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The figures of all workers now, and their media type, as a scraper's Accept header asks."""
        await self._refresh()
        found = self.samples()
        if self.board is not None:
            self.board.write(found)
            found = self.board.read()
        return render(merged([*found, *self._known]), accept)

    async def publish(self) -> None:
        """Tell the other workers what this one counted, until cancelled; does nothing where there is no board."""
        try:
            while self.board is not None:
                self._write(self.board)
                await asyncio.sleep(WRITE_S)
        finally:
            if self.board is not None:
                self._write(self.board)

    def _write(self, board: Board) -> None:
        try:
            board.write(self.samples())
        except OSError as error:
            _LOG.warning("figures cannot be told to other workers", extra={"fields": {"reason": str(error)}})

    def samples(self) -> list[Sample]:
        """The figures of this process now, without those of slow parts."""
        found = [*self._of_requests(), *self._of_arms(), *self._of_process()]
        for source in self._sources:
            found.extend(source.figures())
        return found

    def _of_requests(self) -> Iterator[Sample]:
        by_outcome: dict[tuple[str, str], Tally] = {}
        # A counter that begins at 1 has never grown for a scraper: what alerts look at begins at 0.
        requests = dict(self._requests)
        for route, status in {(route, status) for route, _ in requests for status in FAILURES} - requests.keys():
            yield Sample("luban_requests_total", (route, str(status)), 0)
        for (route, status), tally in requests.items():
            yield Sample("luban_requests_total", (route, str(status)), sum(tally.counts))
            key = (route, outcome_of(status))
            by_outcome[key] = by_outcome[key] + tally if key in by_outcome else tally
        for key, tally in by_outcome.items():
            yield Sample("luban_request_seconds", key, tally)
        for kind in KINDS:
            yield Sample("luban_problems_total", (kind,), self._problems.get(kind, 0))

    def _of_arms(self) -> Iterator[Sample]:
        for (model, version, name), arm in list(self._arms.items()):
            labels = (model, str(version or ""), name)
            for outcome, count in (("answered", sum(arm.seconds.counts)), ("failed", arm.failed), ("late", arm.late)):
                yield Sample("luban_model_requests_total", (*labels, outcome), count)
            yield Sample("luban_model_request_seconds", labels, arm.seconds)
            yield Sample("luban_answer_confidence_ratio", labels, arm.confidence)
            yield Sample("luban_rows_total", labels, arm.rows)
            yield Sample("luban_row_errors_total", labels, arm.errors)
            yield Sample("luban_rows_outside_total", labels, arm.outside)
            yield Sample("luban_rows_marked_total", labels, arm.marked)
            for value, count in list(arm.values.items()):
                yield Sample("luban_answers_total", (*labels, value), count)

    def _of_process(self) -> Iterator[Sample]:
        yield Sample("luban_workers", (), 1)
        yield Sample("luban_build_info", (__version__,), 1)
        for family in self._process.collect():
            for one in family.samples:
                if one.name in FIGURES:
                    yield Sample(one.name, (), one.value)

    async def _refresh(self) -> None:
        """Ask the slow parts again where that is due; waits no longer than PATIENCE_S for them."""
        if self._asking is None and self._slow and time.monotonic() - self._asked >= SLOW_S:
            self._asking = asyncio.ensure_future(asyncio.to_thread(_ask_all, tuple(self._slow)))
            self._asking.add_done_callback(self._told)
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=PATIENCE_S)

    def _told(self, asking: asyncio.Future[list[Sample]]) -> None:
        self._asking, self._asked = None, time.monotonic()
        if not asking.cancelled():
            self._known = asking.result()


def _ask_all(slow: Iterable[Callable[[], list[Sample]]]) -> list[Sample]:
    """What the slow parts know; one that fails is missing from the scrape, and the log says why."""
    found: list[Sample] = []
    for ask in slow:
        try:
            found.extend(ask())
        except Exception as error:  # A database driver raises what it likes; the rest must be seen all the same.
            _LOG.warning("figures are missing from the scrape", extra={"fields": {"reason": str(error)}})
    return found


def outcome_of(status: int) -> str:
    """ok below 400, failed from 500 on, between them refused.

    >>> outcome_of(200), outcome_of(429), outcome_of(503)
    ('ok', 'refused', 'failed')
    """
    return "ok" if status < 400 else "refused" if status < 500 else "failed"
