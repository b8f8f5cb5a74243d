"""Removing what is too old: answers, truths, rows for review.

Decided here: little by little, so that nobody waits long for the ledger, and for MOST_S at once, since the thread that
writes records sweeps, and what comes meanwhile waits in a bounded memory; what is left is removed soon after. After the
clock was set by more than an hour, nothing is removed by age for a day, so that a clock that is wrong for a while does
not cost all records. A clock that was wrong already when the server started cannot be told from a right one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import Table, delete, select

from luban.errors import StoreError
from luban.store.tables import answers, feedback, reviews

if TYPE_CHECKING:
    from luban.store.ledger import Ledger

EVERY_S = 600.0
FIRST_S = 60.0
PIECE_ROWS = 1000
JUMP_S = 3600.0
DISTRUST_S = 86_400.0
MOST_S, AGAIN_S = 1.0, 2.0
"""How long is swept at once, about; and after how long again where that did not suffice."""
DAY_S = 86_400.0
LOG = logging.getLogger("luban.serve")


class Sweep:
    """Removes what is older than `keep_days`, and of each model's answers all but the newest `max_kept`."""

    def __init__(
        self,
        ledger: Ledger,
        keep_days: float,
        max_kept: int,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._keep_s = keep_days * DAY_S
        self._max_kept = max_kept
        self._clock = clock
        self._ticks = ticks
        self._offset = clock() - ticks()
        self._trusted = ticks()
        self._next = ticks() + FIRST_S
        self.num_removed = 0
        self._end = math.inf
        self._is_whole = True

    def now_and_then(self) -> None:
        """Remove, if the last time is long enough ago. What the ledger refuses is tried again next time."""
        if self._ticks() < self._next:
            return
        self._next = self._ticks() + EVERY_S
        try:
            self.remove(MOST_S)
            if not self._is_whole:
                self._next = self._ticks() + AGAIN_S
        except StoreError as error:
            LOG.warning("old records stay", extra={"fields": {"reason": error.message}})

    def remove(self, most_s: float = math.inf) -> int:
        """Remove now, for about so long; how many rows went. Raises StoreError."""
        removed, self._end, self._is_whole = 0, self._ticks() + most_s, True
        before = self._clock() - self._keep_s
        if self._is_trusted():
            for table in (answers, feedback, reviews):
                removed += self._below(table, before)
        removed += self._above_most()
        self.num_removed += removed
        return removed

    def _is_trusted(self) -> bool:
        """Whether the clock went as time did, for a day by now."""
        offset = self._clock() - self._ticks()
        if abs(offset - self._offset) > JUMP_S:
            self._trusted = self._ticks() + DISTRUST_S
            LOG.warning("the clock was set: nothing is removed by age for a day")
        self._offset = offset
        return self._ticks() >= self._trusted

    def _above_most(self) -> int:
        """Of each model's answers, those beyond the newest `max_kept`."""
        removed = 0
        with self._ledger.reading() as tx:
            models = list(
                tx.execute(select(answers.c.model).where(answers.c.workspace == tx.workspace).distinct()).scalars()
            )
        for model in models:
            with self._ledger.reading() as tx:
                where = (answers.c.workspace == tx.workspace, answers.c.model == model)
                newest = select(answers.c.time).where(*where).order_by(answers.c.time.desc())
                last = tx.scalar(newest.offset(self._max_kept - 1).limit(1))
            if last is not None:
                removed += self._below(answers, float(last), model)
        return removed

    def _below(self, table: Table, before: float, model: str | None = None) -> int:
        """Remove rows from before a time, a piece at a time."""
        removed = 0
        while True:
            with self._ledger.transaction() as tx:
                where = [table.c.workspace == tx.workspace, table.c.time < before]
                where += [table.c.model == model] if model is not None else []
                key = list(table.primary_key)
                found = tx.execute(select(*key).where(*where).limit(PIECE_ROWS)).all()
                for row in found:
                    tx.execute(delete(table).where(*(column == row._mapping[column] for column in key)))
            removed += len(found)
            if len(found) < PIECE_ROWS:
                return removed
            if self._ticks() >= self._end:
                self._is_whole = False
                return removed
            time.sleep(0.05)
