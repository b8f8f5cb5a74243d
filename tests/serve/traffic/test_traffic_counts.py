"""Counts in the ledger, on both databases: rows are replaced, added, and forgotten after a month."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from luban.serve.traffic import counts
from luban.serve.traffic.counts import Counts, Place
from luban.store.ledger import Ledger
from luban.store.tables import traffic

ONE, TWO = Place("reviews", "default", 3, 1), Place("reviews", "default", 3, 2)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.close()


def some(requests: int) -> dict:
    found = Counts(0.25)
    for _ in range(requests):
        found.answered(False, 0.001)
    return found.to_json()


def test_a_row_holds_totals_and_is_written_again(ledger: Ledger) -> None:
    counts.write(ledger, "a", {ONE: some(3), TWO: some(1)})
    counts.write(ledger, "a", {ONE: some(5)})
    counts.write(ledger, "b", {ONE: some(2)})
    rows = counts.read(ledger, "reviews", "default", 3)
    assert counts.totals(rows, 1)[0.25].requests == 7
    assert counts.totals(rows, 2)[0.25].requests == 1
    assert counts.read(ledger, "reviews", "default", 4) == []
    assert counts.read(ledger, "others", "default", 0) == []


def test_only_what_nobody_wrote_for_a_month_is_forgotten(ledger: Ledger) -> None:
    counts.write(ledger, "a", {ONE: some(3), TWO: some(1)})
    with ledger.transaction() as tx:
        old = tx.clock() - counts.KEEP_S - 1
        tx.execute(update(traffic).where(traffic.c.version == 1).values(time=old))
    counts.forget(ledger, "others", "default")
    assert len(counts.read(ledger, "reviews", "default", 0)) == 2
    counts.forget(ledger, "reviews", "default")
    assert [row.version for row in counts.read(ledger, "reviews", "default", 0)] == [2]
