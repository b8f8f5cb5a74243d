"""Which answers a person should look at: those that are not sure, rows unlike any seen before, and some by chance.

The finisher `Marks` marks them in the answer (`"review": true`, `"review_because": [...]`), so that a caller can hold
them back; `records.py` puts their rows to the review queue. Decided here:

- reasons are codes: `confidence` (less sure than `below`), `outside` (a guard marked the row), `sample` (chance);
- rows of the sample are not marked: they are answers like any other, looked at to find mistakes made with confidence;
- rows with an error are not marked: there is no answer to look at.

How sure an answer is, its task says (`Task.confidence`); one that cannot say is named in the log, once a version.
Knows no task.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from luban.catalog import Config
from luban.tasks.base import Judgement, Tolerance

if TYPE_CHECKING:
    from luban.serve.fleet import Fleet
    from luban.serve.live import Served
    from luban.serve.question import Answer, Question, Reply
    from luban.tasks.base import Task

CONFIDENCE, OUTSIDE, SAMPLE = "confidence", "outside", "sample"
REASONS = (CONFIDENCE, OUTSIDE, SAMPLE)
LOG = logging.getLogger("luban.serve")


class ReviewConfig(Config):
    """Which answers a person should look at. Their rows are kept in the ledger until they are too old."""

    below: float | None = Field(None, gt=0, le=1)
    """Answers less sure than this are marked, and their rows go to the queue. Left out: none."""
    outside: bool = False
    """Rows that are marked as outside of what the model was trained on go to the queue, too."""
    sample: float = Field(0.0, ge=0, le=1)
    """Share of all rows that go to the queue by chance, so that mistakes made with confidence are found."""
    within: float = Field(0.0, ge=0)
    """For numbers: how far from the truth still counts as right, in the target's unit."""
    within_share: float = Field(0.0, ge=0)
    """The same, as a share of the number that is answered: 0.1 is ten percent. The wider of both counts."""
    max_open: int = Field(10_000, ge=1)
    """Rows of one model that may wait in the queue; more are answered, but not put there."""
    lease_s: float = Field(900.0, gt=0, le=86_400)
    """Seconds that a row belongs to whoever took it, so that no two people decide the same."""

    @property
    def active(self) -> bool:
        """Whether any row can come to the queue."""
        return self.below is not None or self.outside or self.sample > 0

    @cached_property
    def tolerance(self) -> Tolerance:
        """How far off a number may be."""
        return Tolerance(self.within, self.within_share)


class Marks:
    """A finisher: says how sure an answer is where its task leaves that to a tolerance, and marks what is not."""

    def __init__(self, config: ReviewConfig, draw: Callable[[], float] = random.random) -> None:
        self._config = config
        self._draw = draw
        self._sure: dict[str, bool] = {}

    def finish(self, question: Question, reply: Reply) -> None:
        """Mark answers, and note in `reply.marked` what goes to the queue."""
        served = reply.arm.served
        task, decoding = served.bundle.task, served.bundle.manifest.task.decoding
        sure = self._is_sure(served)
        for position, answer in enumerate(reply.answers):
            if "error" in answer:
                continue
            confidence = task.confidence(answer, decoding, self._config.tolerance) if sure else None
            if confidence is not None:
                answer.setdefault(CONFIDENCE, confidence)
            reasons = self._reasons(answer, confidence)
            if reasons:
                answer["review"], answer["review_because"] = True, reasons
            if self._config.sample and self._draw() < self._config.sample:
                reasons = [*reasons, SAMPLE]
            if reasons:
                reply.marked = reply.marked or {}
                reply.marked[position] = reasons

    def _reasons(self, answer: Answer, confidence: float | None) -> list[str]:
        config = self._config
        reasons = []
        if config.below is not None and confidence is not None and confidence < config.below:
            reasons.append(CONFIDENCE)
        if config.outside and answer.get(OUTSIDE):
            reasons.append(OUTSIDE)
        return reasons

    def _is_sure(self, served: Served) -> bool:
        """Whether a version can say how sure it is; if not, and that was asked for, it is said once."""
        identity = served.bundle.identity
        found = self._sure.get(identity)
        if found is None:
            reason = served.bundle.task.unsure(served.bundle.manifest.task.decoding, self._config.tolerance)
            found = self._sure[identity] = reason is None
            if reason is not None and self._config.below is not None:
                fields = {"model": served.name, "version": served.version, "reason": reason}
                LOG.warning("review.below cannot be followed", extra={"fields": fields})
        return found


class Judges:
    """What truths say of answers, by the tasks of the models that are served; callable from any thread."""

    def __init__(self, fleet: Fleet, tolerance: Tolerance) -> None:
        self._fleet = fleet
        self._tolerance = tolerance
        self._tasks: dict[str, Task] = {}

    def __call__(self, model: str, answer: Mapping[str, Any], truth: Any) -> Judgement:
        """The judgement; nothing can be said of a model that was never loaded here."""
        if model in self._fleet.names():
            now = self._fleet.live(model).now
            if now is not None:
                self._tasks[model] = now.bundle.task
        task = self._tasks.get(model)
        return Judgement(None, None) if task is None else task.judge(answer, truth, self._tolerance)
