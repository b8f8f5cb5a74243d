"""States of a row in the review queue, and what feedback does to it.

Decided here: a row whose truth came by feedback is `told`, so nobody is asked for what is known; it was not decided by
a person who chose it because it was marked, so evidence counts its truth, and `reviews export` leaves it out. A truth
that was mended by feedback is mended here, too; what was dropped stays dropped. Works within the caller's transaction.
"""

from __future__ import annotations

from sqlalchemy import or_, update

from luban.store.database import Transaction, now
from luban.store.tables import reviews

OPEN, TAKEN, DONE, TOLD, DROPPED = "open", "taken", "done", "told", "dropped"
STATUSES = (OPEN, TAKEN, DONE, TOLD, DROPPED)


def close_told(tx: Transaction, request_id: str, position: int, truth: str, actor: str) -> None:
    """Feedback gave the truth (JSON) of an answer: whoever has its row, or had decided it, need not any more."""
    same = (
        reviews.c.workspace == tx.workspace,
        reviews.c.request_id == request_id,
        reviews.c.position == position,
    )
    known = {"truth": truth, "decided_by": actor, "decided": now()}
    waits = reviews.c.status.in_((OPEN, TAKEN))
    tx.execute(update(reviews).where(*same, waits).values(status=TOLD, taken_by=None, taken_until=None, **known))
    differs = or_(reviews.c.truth != truth, reviews.c.truth.is_(None))
    tx.execute(update(reviews).where(*same, reviews.c.status.in_((DONE, TOLD)), differs).values(known))
