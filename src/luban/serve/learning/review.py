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
from collections.abc import Mapping
from typing import TYPE_CHECKING

from luban.serve.learning.chance import Draw, by_chance
from luban.tasks.base import Tolerance

if TYPE_CHECKING:
    from luban.serve.fleet.served import Served
    from luban.serve.learning.learning_config import ReviewConfig
    from luban.serve.question import Answer, Question, Reply

CONFIDENCE, OUTSIDE, SAMPLE = "confidence", "outside", "sample"
REASONS = (CONFIDENCE, OUTSIDE, SAMPLE)
LOG = logging.getLogger("luban.serve")


class Marks:
    """A finisher: says how sure an answer is where its task leaves that to a tolerance, and marks what is not."""

    def __init__(self, config: ReviewConfig, draw: Draw = by_chance) -> None:
        self._config = config
        self._tolerance = Tolerance(config.within, config.within_share)
        self._draw = draw
        self._sure: dict[str, bool] = {}
        self.adds: Mapping[str, str] = {CONFIDENCE: "number"}
        if config.below is not None or config.outside:
            self.adds = {**self.adds, "review": "boolean", "review_because": "array"}

    def finish(self, question: Question, reply: Reply) -> None:
        """Mark answers, and note in `reply.marked` what goes to the queue."""
        served = reply.arm.served
        task, decoding = served.bundle.task, served.bundle.manifest.task.decoding
        sure = self._is_sure(served)
        for position, answer in enumerate(reply.answers):
            if "error" in answer:
                continue
            confidence = task.confidence(answer, decoding, self._tolerance) if sure else None
            if confidence is not None:
                answer.setdefault(CONFIDENCE, confidence)
            reasons = self._reasons(answer, confidence)
            if reasons:
                answer["review"], answer["review_because"] = True, reasons
            if self._config.sample and self._draw(SAMPLE, question.entry.request_id, position) < self._config.sample:
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
            reason = served.bundle.task.unsure(served.bundle.manifest.task.decoding, self._tolerance)
            found = self._sure[identity] = reason is None
            if reason is not None and self._config.below is not None:
                fields = {"model": served.name, "version": served.version, "reason": reason}
                LOG.warning("review.below cannot be followed", extra={"fields": fields})
        return found
