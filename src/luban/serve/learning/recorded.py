"""What a record is: one reply as it waits, and the rows that it becomes in the ledger.

Decided here: rows with an error are not recorded, for there is no answer whose truth could be told; of whom chance gave
to an arm only a hash is kept, because a sticky key may be a person's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Table, text

from luban.serve.learning.review_rows import OPEN
from luban.serve.learning.truths import as_text, in_order

if TYPE_CHECKING:
    from luban.serve.question import Answer
    from luban.store.database import Transaction

DEPLOYMENT = "default"


class Item(NamedTuple):
    """One reply. `rows` holds those that are to be kept, by position; `every`: all answers are written.

    `by`: name of the arm and number of its version. Not the arm: while the ledger is away, all that waits would keep
    bundles in memory that are to be given back. Of the request only what is written is held: many may wait, and with
    its notes each would weigh twice as much.
    """

    time: float
    request_id: str
    model: str
    sticky: str
    by: tuple[str, int | None]
    share: float | None
    answers: list[Answer]
    rows: Mapping[int, Any]
    marked: Mapping[int, list[str]] | None
    every: bool
    num_bytes: int
    caller: str = ""
    """Id of the key or token that asked."""


def answers_of(item: Item, keep_rows: bool) -> Iterator[dict[str, Any]]:
    """Rows of the table `answers`: all of a reply, or those that a person is to look at."""
    unit = hashlib.blake2b(item.sticky.encode(), digest_size=8).hexdigest() if item.sticky else None
    for position in range(len(item.answers)) if item.every else item.marked or ():
        answer = item.answers[position]
        if "error" in answer:
            continue
        yield {
            **_told(item, position, answer),
            "deployment": DEPLOYMENT,
            "arm": item.by[0],
            "unit": unit,
            "share": item.share,
            "row": in_order(item.rows[position]) if keep_rows and item.every else None,
            "caller": item.caller,
        }


def reviews_of(item: Item) -> Iterator[dict[str, Any]]:
    """Rows of the table `reviews`."""
    for position, reasons in (item.marked or {}).items():
        yield {
            **_told(item, position, item.answers[position]),
            "reasons": as_text(reasons),
            "row": in_order(item.rows[position]),
            "status": OPEN,
        }


def insert_new(tx: Transaction, table: Table, rows: list[dict[str, Any]]) -> int:
    """Insert rows of equal columns, but those whose key is there already; how many were new."""
    if not rows:
        return 0
    names = ["workspace", *rows[0]]
    values = ", ".join(f":{name}" for name in names)
    statement = text(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING")
    return tx.connection.execute(statement, [{"workspace": tx.workspace, **row} for row in rows]).rowcount


def _told(item: Item, position: int, answer: Answer) -> dict[str, Any]:
    confidence = answer.get("confidence")
    return {
        "request_id": item.request_id,
        "position": position,
        "model": item.model,
        "version": item.by[1],
        "time": item.time,
        "answer": in_order(answer),
        "confidence": confidence if isinstance(confidence, float) else None,
    }
