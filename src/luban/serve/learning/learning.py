"""What is kept of answers so that they can be learnt from, put together: marks, records, truths, the review queue.

The office hands in its fleet and state, and takes from here finishers, listeners, routes and figures. Without a
ledger answers are still marked and explained; nothing is recorded. Where nobody waits (`patient`: jobs) all is
recorded, by whoever calls `records.write`; and chance is drawn by a row's id, so that a job that is begun again draws
the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from luban.serve.learning.chance import by_chance, by_id
from luban.serve.learning.clerk import Clerk
from luban.serve.learning.feedback import Feedback
from luban.serve.learning.judges import Judges
from luban.serve.learning.reasons import Reasons
from luban.serve.learning.review import Marks
from luban.serve.learning.reviewing import Reviewing
from luban.serve.watch.figures import Sample
from luban.tasks.base import Tolerance

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.desk import Desk, Finisher, Listener
    from luban.serve.fleet.fleet import Fleet
    from luban.serve.learning.records import Records
    from luban.serve.watch.metrics import Metrics
    from luban.store.home import Home

SHOWN_S = 7 * 86_400.0
"""Answers of so many seconds before now are in the figures of live accuracy."""
COUNTING_SHARE = 0.02
"""Of its time the server counts at most so much of what stands in the ledger."""


class Learning:
    """The parts of one office. Belongs to one event loop."""

    def __init__(self, fleet: Fleet, config: ServeConfig, home: Home | None, patient: bool = False) -> None:
        self._fleet = fleet
        self._config = config
        self._ledger = None if home is None else home.ledger
        self._clerk = Clerk()
        self._counted: list[Sample] = []
        self._count_again = 0.0
        tolerance = Tolerance(config.review.within, config.review.within_share)
        self.judges = Judges(fleet, tolerance)
        self.reasons = Reasons(config.explain)
        marking = config.review.active or bool(tolerance)
        draw = by_id if patient else by_chance
        self.finishers: Sequence[Finisher] = (Marks(config.review, draw),) if marking else ()
        self.listeners: Sequence[Listener] = ()
        self.records: Records | None = None
        if self._ledger is not None and (config.records.answers or config.review.active):
            from luban.serve.learning.records import Records

            parts = (self._ledger, config.records, config.review.max_open, self.judges)
            self.records = Records(*parts, draw=draw, patient=patient).start()
            self.listeners = (self.records,)

    def groups(self, desk: Desk) -> tuple[Feedback, Reviewing]:
        """Paths of feedback and review."""
        parts = (self._config, self._ledger, self.judges, self._clerk)
        return Feedback(desk, *parts), Reviewing(desk.fleet, *parts)

    def tell(self, metrics: Metrics) -> None:
        """Have the figures of this part asked."""
        if self.records is not None:
            metrics.add(self.records)
            metrics.add_slow(self._slow)

    def close(self) -> None:
        """Write what waits, and end the threads."""
        self.reasons.close()
        self._clerk.close()
        if self.records is not None:
            self.records.close()

    def _slow(self) -> list[Sample]:
        """Figures that stand in the ledger; counting many truths takes its time, and is done the more seldom."""
        began = time.monotonic()
        if began >= self._count_again:
            self._counted = list(self._count())
            self._count_again = began + (time.monotonic() - began) / COUNTING_SHARE
        return self._counted

    def _count(self) -> Iterable[Sample]:
        from luban.serve.learning.outcomes import Outcomes
        from luban.serve.learning.review_queue import ReviewQueue

        assert self._ledger is not None
        queue, outcomes = ReviewQueue(self._ledger, self._config.review.lease_s), Outcomes(self._ledger)
        for model in self._fleet.names():
            for status, count in queue.counts(model).items():
                yield Sample("luban_reviews", (model, status), count)
            for version, (judged, correct) in outcomes.accuracy(model, time.time() - SHOWN_S).items():
                yield Sample("luban_truths", (model, str(version)), judged)
                if judged:
                    yield Sample("luban_live_accuracy_ratio", (model, str(version)), correct / judged)
