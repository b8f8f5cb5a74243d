"""The audit trail: a chain of hashes, so that a changed, removed or inserted entry shows.

Each entry's hash covers its content and the hash before it. A chain that was cut off at its end is
whole in itself: that shows against a head kept elsewhere (each release's manifest has one), which
`verify` takes as `heads`. What is written here is `policy`'s and the verbs' to say.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import insert, select

from luban.catalog import canonical, fingerprint
from luban.errors import StoreError
from luban.store.database import Database, Transaction, now
from luban.store.tables import audit

FIRST = "0" * 64
"""The hash before the first entry."""


@dataclass(frozen=True)
class Entry:
    """One entry: who (`actor`) did what (`verb`) to what (`object`) and when (ISO 8601, UTC)."""

    number: int
    time: str
    actor: str
    verb: str
    object: str
    detail: Any
    previous: str
    hash: str

    def seal(self, workspace: str) -> str:
        """The hash that this entry must have."""
        content = {**asdict(self), "workspace": workspace}
        del content["hash"]
        return fingerprint(content)


def append(tx: Transaction, actor: str, verb: str, object: str, detail: object) -> str:
    """See Ledger.audit."""
    last = tx.execute(_all(tx).order_by(audit.c.number.desc()).limit(1)).first()
    number, previous = (last.number + 1, last.hash) if last is not None else (1, FIRST)
    body = canonical(detail).decode()
    entry = Entry(number, now(), actor, verb, object, json.loads(body), previous, "")
    sealed = entry.seal(tx.workspace)
    row = {**asdict(entry), "workspace": tx.workspace, "detail": body, "hash": sealed}
    tx.execute(insert(audit).values(row))
    return sealed


def head(database: Database) -> str:
    """See Ledger.audit_head."""
    with database.read() as tx:
        newest = tx.execute(_all(tx).order_by(audit.c.number.desc()).limit(1)).first()
    return FIRST if newest is None else str(newest.hash)


def entries(database: Database, limit: int) -> list[Entry]:
    """See Ledger.audit_entries."""
    with database.read() as tx:
        rows = tx.execute(_all(tx).order_by(audit.c.number.desc()).limit(limit)).all()
    return [_entry(row) for row in rows]


def verify(database: Database, heads: Collection[str]) -> None:
    """See Ledger.verify_audit."""
    seen, previous, expected = {FIRST}, FIRST, 1
    with database.read() as tx:
        for row in tx.execute(_all(tx).order_by(audit.c.number)):
            reason = _misfit(row, tx.workspace, previous, expected)
            if reason is not None:
                raise StoreError(
                    f"The audit trail does not fit at entry {expected}: {reason}.",
                    "Somebody changed the ledger by other means. Compare it with a backup.",
                )
            previous, expected = row.hash, expected + 1
            seen.add(row.hash)
    lost = [known for known in heads if known not in seen]
    if lost:
        raise StoreError(
            f"The audit trail lacks the entry with the hash {lost[0]}, which was once its last.",
            "Somebody cut or rewrote it. Compare it with a backup.",
        )


def _misfit(row: Any, workspace: str, previous: str, expected: int) -> str | None:
    if row.number != expected:
        return f"the next one has the number {row.number}"
    if row.previous != previous:
        return "it does not name the hash of the entry before it"
    try:
        entry = _entry(row)
    except ValueError:
        return "its detail is not JSON"
    if entry.seal(workspace) != row.hash:
        return "its content does not have the hash that it states"
    return None


def _entry(row: Any) -> Entry:
    return Entry(row.number, row.time, row.actor, row.verb, row.object, json.loads(row.detail), row.previous, row.hash)


def _all(tx: Transaction) -> Any:
    return select(audit).where(audit.c.workspace == tx.workspace)
