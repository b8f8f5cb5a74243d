"""What became of answers: each with its truth and its business figures, as they arrive.

    outcomes = Outcomes(ledger)
    for outcome in outcomes.after("reviews", number):     # what is new since `number`, in order of arrival
        ...; number = outcome.number

Truth comes late, and may be mended: an answer whose truth or figures were changed comes again, with a higher `number`
and the next `revision`. Numbers are given in the order of commits, so whoever goes on from the last one misses nothing,
whatever clocks did. Answers are known where `serve.records.answers` is on; a truth that came before its answer was
recorded shows once both are there. Reads only. Knows no task: what is right was judged as truth came (`truths.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, case, func, select

from luban.store.database import Transaction
from luban.store.ledger import Ledger
from luban.store.tables import answers, feedback

_PAGE = 1000
_SAME = and_(
    answers.c.workspace == feedback.c.workspace,
    answers.c.request_id == feedback.c.request_id,
    answers.c.position == feedback.c.position,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer, and what is known of it by now. Times are seconds since 1970.

    `unit` is whom chance gave to the arm (None: the request itself), `share` the arm's weight at that moment.
    `truth` is None where only figures came; `correct` and `error` are None where they cannot be said (`Task.judge`).
    """

    number: int
    revision: int
    request_id: str
    position: int
    model: str
    deployment: str
    version: int
    arm: str
    unit: str | None
    share: float | None
    answered_at: float
    told_at: float
    answer: Mapping[str, Any]
    confidence: float | None
    truth: Any
    correct: bool | None
    error: float | None
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Known:
    """How much is known of one arm's answers since some time.

    Of the `judged` ones `correct` is the share that was right, `confidence` the mean of how sure they were, which
    should be about the same, and `error` the mean; None where there are none.
    """

    deployment: str
    version: int
    arm: str
    answers: int
    truths: int
    judged: int
    correct: float | None
    confidence: float | None
    error: float | None


class Outcomes:
    """Reads what became of answers. Threads may share one. Raises StoreError."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def after(self, model: str, number: int = 0, limit: int = _PAGE) -> list[Outcome]:
        """At most `limit` outcomes with a higher number, in the order of their numbers."""
        with self._ledger.reading() as tx:
            found = tx.execute(
                select(feedback, *_OF_ANSWERS)
                .join(answers, _SAME)
                .where(*_of(tx, model), feedback.c.joined == 1, feedback.c.number > number)
                .order_by(feedback.c.number)
                .limit(limit)
            ).all()
        return [_outcome(row) for row in found]

    def last(self, model: str) -> int:
        """The highest number of an outcome so far, 0 where there is none: where to begin if what was is of no use."""
        with self._ledger.reading() as tx:
            return int(tx.scalar(select(func.max(feedback.c.number)).where(*_of(tx, model))) or 0)

    def known(self, model: str, since: float = 0.0) -> list[Known]:
        """How much is known of each arm's answers that were given since `since`."""
        judged = func.count(feedback.c.correct)
        with self._ledger.reading() as tx:
            found = tx.execute(
                select(
                    answers.c.deployment,
                    answers.c.version,
                    answers.c.arm,
                    func.count().label("answers"),
                    func.count(feedback.c.truth).label("truths"),
                    judged.label("judged"),
                    func.sum(feedback.c.correct).label("correct"),
                    func.avg(case((feedback.c.correct.is_not(None), answers.c.confidence))).label("confidence"),
                    func.avg(feedback.c.error).label("error"),
                )
                .outerjoin(feedback, and_(_SAME, feedback.c.model == answers.c.model, feedback.c.joined == 1))
                .where(answers.c.workspace == tx.workspace, answers.c.model == model, answers.c.time >= since)
                .group_by(answers.c.deployment, answers.c.version, answers.c.arm)
                .order_by(answers.c.deployment, answers.c.version, answers.c.arm)
            ).all()
        return [_known(row) for row in found]

    def accuracy(self, model: str, since: float = 0.0) -> dict[int, tuple[int, int]]:
        """By version: of the answers given since `since` how many were judged, and how many of these were right."""
        with self._ledger.reading() as tx:
            found = tx.execute(
                select(answers.c.version, func.count().label("judged"), func.sum(feedback.c.correct).label("correct"))
                .join(answers, _SAME)
                .where(*_of(tx, model), feedback.c.correct.is_not(None), answers.c.time >= since)
                .group_by(answers.c.version)
            ).all()
        return {int(row.version): (int(row.judged), int(row.correct)) for row in found}


_OF_ANSWERS = (
    answers.c.deployment,
    answers.c.version,
    answers.c.arm,
    answers.c.unit,
    answers.c.share,
    answers.c.time.label("answered_at"),
    answers.c.answer,
    answers.c.confidence,
)


def _of(tx: Transaction, model: str) -> tuple[Any, ...]:
    return (feedback.c.workspace == tx.workspace, feedback.c.model == model)


def _outcome(row: Row[Any]) -> Outcome:
    return Outcome(
        number=int(row.number),
        revision=int(row.revision),
        request_id=row.request_id,
        position=int(row.position),
        model=row.model,
        deployment=row.deployment,
        version=int(row.version),
        arm=row.arm,
        unit=row.unit,
        share=row.share,
        answered_at=row.answered_at,
        told_at=row.time,
        answer=json.loads(row.answer),
        confidence=row.confidence,
        truth=None if row.truth is None else json.loads(row.truth),
        correct=None if row.correct is None else bool(row.correct),
        error=row.error,
        figures=json.loads(row.figures),
    )


def _known(row: Row[Any]) -> Known:
    judged = int(row.judged)
    return Known(
        deployment=row.deployment,
        version=int(row.version),
        arm=row.arm,
        answers=int(row.answers),
        truths=int(row.truths),
        judged=judged,
        correct=int(row.correct) / judged if judged else None,
        confidence=None if row.confidence is None else float(row.confidence),
        error=None if row.error is None else float(row.error),
    )
