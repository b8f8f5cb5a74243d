from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from luban.errors import StoreError
from luban.store.audit import FIRST
from luban.store.ledger import Ledger


def filled(ledger: Ledger, num: int = 5) -> list[str]:
    heads = []
    for number in range(num):
        with ledger.transaction() as tx:
            heads.append(ledger.audit(tx, "ada", "release", f"model/{number}", {"reason": "更好", "number": number}))
    return heads


def test_entries_are_chained(ledger: Ledger) -> None:
    assert ledger.audit_head() == FIRST
    ledger.verify_audit()
    heads = filled(ledger)
    assert ledger.audit_head() == heads[-1]
    ledger.verify_audit(heads)
    entries = ledger.audit_entries(limit=3)
    assert [entry.number for entry in entries] == [5, 4, 3]
    assert entries[0].previous == entries[1].hash
    assert entries[0].detail == {"reason": "更好", "number": 4}


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE audit SET actor = 'eve' WHERE number = 3", 3),
        ("UPDATE audit SET verb = 'promote' WHERE number = 1", 1),
        ("UPDATE audit SET object = 'model/9' WHERE number = 5", 5),
        ("UPDATE audit SET time = '2020-01-01T00:00:00.000000+00:00' WHERE number = 2", 2),
        ("UPDATE audit SET detail = '{}' WHERE number = 4", 4),
        ("UPDATE audit SET detail = 'no json' WHERE number = 4", 4),
        ("UPDATE audit SET hash = previous WHERE number = 2", 2),
        ("UPDATE audit SET previous = hash WHERE number = 2", 2),
        ("UPDATE audit SET number = 9 WHERE number = 5", 5),
        ("UPDATE audit SET workspace = 'other' WHERE number = 2", 2),
        ("DELETE FROM audit WHERE number = 1", 1),
        ("DELETE FROM audit WHERE number = 3", 3),
        ("INSERT INTO audit SELECT workspace, 6, time, actor, verb, object, detail, hash, hash FROM audit"
         " WHERE number = 5", 6),
    ],
)  # fmt: skip
def test_tampering_shows_at_the_first_entry_that_does_not_fit(tmp_path: Path, statement: str, entry: int) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    filled(ledger)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute(statement).rowcount == 1
    with pytest.raises(StoreError, match=f"does not fit at entry {entry}:"):
        ledger.verify_audit()


def test_a_trail_that_was_cut_shows_against_a_head_kept_elsewhere(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    heads = filled(ledger)
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute("DELETE FROM audit WHERE number = 5")
    ledger.verify_audit()
    ledger.verify_audit(heads[:4])
    with pytest.raises(StoreError, match=f"lacks the entry with the hash {heads[4]}"):
        ledger.verify_audit(heads)


def test_an_entry_stands_or_falls_with_its_deed(ledger: Ledger) -> None:
    filled(ledger, 1)
    with pytest.raises(KeyError), ledger.transaction() as tx:  # noqa: PT012
        ledger.audit(tx, "ada", "release", "model/9")
        raise KeyError
    assert len(ledger.audit_entries()) == 1
    filled(ledger, 1)
    ledger.verify_audit()
