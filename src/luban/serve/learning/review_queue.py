"""The review queue: rows that a person should look at, in the ledger.

    open ──take──► taken ──decide──► done          (a truth, which is feedback, too)
      ▲              │ ├────drop───► dropped       (nothing to be learnt from it)
      └── time over ─┘ └──feedback─► told          (the truth came by itself: `review_rows.py`)

Decided here: whoever takes a row has it for a while, so that no two people decide the same; when the time is over it is
open again, by the ledger's clock; a lease that would last longer than it can (the clock was set back) is over. The
oldest row comes first. A decision may be mended: the latest counts. Several servers and people share one queue.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Row, and_, func, or_, select, update

from luban.errors import ServeError
from luban.serve.learning.review_rows import DONE, DROPPED, OPEN, STATUSES, TAKEN, TOLD
from luban.serve.learning.truths import Judge, Truth, as_text, keep
from luban.serve.question import Caller
from luban.store.database import Transaction, now
from luban.store.tables import reviews

if TYPE_CHECKING:
    from luban.store.ledger import Ledger

MAX_LISTED = 1000


class NotThere(ServeError):
    """There is no such row in the queue."""


class Held(ServeError):
    """Somebody else has the row now."""


@dataclass(frozen=True)
class Review:
    """One row of the queue. Times are seconds since 1970; `reasons` are codes (`review.REASONS`)."""

    id: str
    model: str
    version: int
    time: float
    reasons: tuple[str, ...]
    row: dict[str, Any]
    answer: dict[str, Any]
    confidence: float | None
    status: str
    taken_by: str | None
    taken_until: float | None
    truth: Any
    decided_by: str | None
    decided: str | None

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON. Holds values of rows."""
        return {**vars(self), "reasons": list(self.reasons)}


class ReviewQueue:
    """The queue of one ledger. Threads may share it. All methods raise StoreError where the ledger is away."""

    def __init__(self, ledger: Ledger, lease_s: float) -> None:
        self._ledger = ledger
        self._lease_s = lease_s

    def listed(self, model: str, status: str = OPEN, limit: int = 100) -> list[Review]:
        """The oldest rows of a status, at most `limit`."""
        with self._ledger.reading() as tx:
            clock = tx.clock()
            where = [*_of(tx, model), self._has(status, clock)]
            found = tx.execute(select(reviews).where(*where).order_by(*_ORDER).limit(min(limit, MAX_LISTED))).all()
        return [self._review(row, clock) for row in found]

    def counts(self, model: str) -> dict[str, int]:
        """How many rows have each status."""
        with self._ledger.reading() as tx:
            clock = tx.clock()
            return {
                status: int(
                    tx.scalar(
                        select(func.count()).select_from(reviews).where(*_of(tx, model), self._has(status, clock))
                    )
                )
                for status in STATUSES
            }

    def get(self, id: str) -> Review:
        """One row. Raises NotThere."""
        with self._ledger.reading() as tx:
            return self._review(_row(tx, id), tx.clock())

    def take(self, id: str, who: str) -> Review:
        """Have a row for `lease_s`; taking it again prolongs that. Raises NotThere, Held; also where it is decided."""
        with self._ledger.transaction() as tx:
            row, clock = _row(tx, id), tx.clock()
            self._not_held(row, who, clock)
            if row.status in (DONE, TOLD, DROPPED):
                raise Held(f"The row `{id}` is {row.status} already, by {row.decided_by}.", "Take another.")
            self._give(tx, id, who, clock)
            return self._review(_row(tx, id), clock)

    def take_next(self, model: str, who: str, count: int = 1) -> list[Review]:
        """Have the oldest open rows, at most `count`."""
        with self._ledger.transaction() as tx:
            clock = tx.clock()
            where = [*_of(tx, model), self._has(OPEN, clock)]
            found = tx.execute(select(reviews).where(*where).order_by(*_ORDER).limit(count)).all()
            for row in found:
                self._give(tx, _id(row), who, clock)
            return [self._review(_row(tx, _id(row)), clock) for row in found]

    def decide(self, id: str, truth: Any, who: str, judge: Judge) -> Review:
        """Say what is true, as the target's column type parses it. It becomes feedback. Raises NotThere, Held."""
        with self._ledger.transaction() as tx:
            row, clock = _row(tx, id), tx.clock()
            self._not_held(row, who, clock)
            keep(tx, Truth(row.request_id, row.position, truth), row.model, Caller(who), judge)
            self._close(tx, id, who, {"status": DONE, "truth": as_text(truth)})  # last: it was not told
            return self._review(_row(tx, id), clock)

    def drop(self, id: str, who: str) -> Review:
        """Say that nothing is to be learnt from a row. Raises NotThere, Held; also where it was decided."""
        with self._ledger.transaction() as tx:
            row, clock = _row(tx, id), tx.clock()
            self._not_held(row, who, clock)
            if row.status in (DONE, TOLD):
                raise Held(f"The row `{id}` is {row.status} already, by {row.decided_by}.", "Decide it again instead.")
            self._close(tx, id, who, {"status": DROPPED})
            return self._review(_row(tx, id), clock)

    def _has(self, status: str, clock: float) -> ColumnElement[bool]:
        """Whether a row has a status; a row whose lease is over is open."""
        held = and_(reviews.c.taken_until > clock, reviews.c.taken_until <= clock + self._lease_s)
        if status == OPEN:
            return or_(reviews.c.status == OPEN, and_(reviews.c.status == TAKEN, ~held))
        return and_(reviews.c.status == TAKEN, held) if status == TAKEN else reviews.c.status == status

    def _is_held(self, row: Row[Any], clock: float) -> bool:
        return bool(row.status == TAKEN and clock < row.taken_until <= clock + self._lease_s)

    def _not_held(self, row: Row[Any], who: str, clock: float) -> None:
        if self._is_held(row, clock) and row.taken_by != who:
            left = row.taken_until - clock
            raise Held(f"The row `{_id(row)}` is {row.taken_by}'s for {left:.0f} s yet.", "Take another.")

    def _give(self, tx: Transaction, id: str, who: str, clock: float) -> None:
        held = {"status": TAKEN, "taken_by": who, "taken_until": clock + self._lease_s}
        tx.execute(update(reviews).where(*_is(tx, id)).values(held))

    def _close(self, tx: Transaction, id: str, who: str, values: dict[str, Any]) -> None:
        ended = {"taken_by": None, "taken_until": None, "decided_by": who, "decided": now()}
        tx.execute(update(reviews).where(*_is(tx, id)).values({**ended, **values}))

    def _review(self, row: Row[Any], clock: float) -> Review:
        held = self._is_held(row, clock)
        return Review(
            id=_id(row),
            model=row.model,
            version=int(row.version),
            time=row.time,
            reasons=tuple(json.loads(row.reasons)),
            row=json.loads(row.row),
            answer=json.loads(row.answer),
            confidence=row.confidence,
            status=OPEN if row.status == TAKEN and not held else row.status,
            taken_by=row.taken_by if held else None,
            taken_until=row.taken_until if held else None,
            truth=None if row.truth is None else json.loads(row.truth),
            decided_by=row.decided_by,
            decided=row.decided,
        )


_ORDER = (reviews.c.time, reviews.c.request_id, reviews.c.position)


def num_open(tx: Transaction, model: str) -> int:
    """Rows that wait: open, or taken and not decided."""
    where = [*_of(tx, model), reviews.c.status.in_((OPEN, TAKEN))]
    return int(tx.scalar(select(func.count()).select_from(reviews).where(*where)) or 0)


def _id(row: Row[Any]) -> str:
    return f"{row.request_id}:{row.position}"


def _is(tx: Transaction, id: str) -> list[ColumnElement[bool]]:
    request_id, _, position = id.rpartition(":")
    if not request_id.isprintable() or not position.isdecimal() or len(position) > 9:
        raise NotThere(f"There is no row `{id[:200]}` in the queue.", "An id is a request's, a colon and a position.")
    key = (reviews.c.request_id == request_id, reviews.c.position == int(position))
    return [reviews.c.workspace == tx.workspace, *key]


def _row(tx: Transaction, id: str) -> Row[Any]:
    found = tx.execute(select(reviews).where(*_is(tx, id))).first()
    if found is None:
        raise NotThere(f"There is no row `{id[:200]}` in the queue.", "List those that are: `luban reviews list`.")
    return found


def _of(tx: Transaction, model: str) -> list[ColumnElement[bool]]:
    return [reviews.c.workspace == tx.workspace, reviews.c.model == model]
