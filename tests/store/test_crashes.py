"""kill -9 for real: whatever is visible afterwards is whole, and the next process goes on at once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from luban.errors import LeaseHeld
from luban.store import process
from luban.store.blobs import Store
from luban.store.ledger import Ledger
from luban.store.tables import versions

from .conftest import Victim

Start = Callable[..., Victim]


@pytest.mark.parametrize("seed", range(6))
def test_killed_while_writing_bytes(seed: int, tmp_path: Path, victim: Start) -> None:
    running = victim("put", tmp_path)
    promised = [running.line()]
    time.sleep(random.Random(seed).uniform(0, 0.2))
    promised += running.kill()
    store = Store(tmp_path)
    for line in promised:
        what, sha = line.split()
        assert store.has(sha) if what == "blob" else store.has_tree(sha)
    root = tmp_path / "default"
    for path in [*root.glob("blobs/*/*"), *root.glob("trees/*")]:
        store.verify(path.name)
    with store.scratch() as folder:
        assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}, "not swept"


def test_a_living_process_keeps_its_unfinished_work(store: Store) -> None:
    with store.scratch("mine") as mine, Store(store.url).scratch("other"), Store(store.url).scratch("third"):
        assert mine.is_dir()


@pytest.mark.parametrize("seed", range(4))
def test_killed_within_transactions(seed: int, ledger_url: str, victim: Start) -> None:
    running = victim("release", ledger_url)
    assert running.line() == "ready"
    time.sleep(random.Random(seed).uniform(0.05, 0.3))
    promised = max(map(int, running.kill()), default=0)
    ledger = Ledger(ledger_url)
    ledger.verify_audit()
    with ledger.reading() as tx:
        kept = tx.scalar(select(func.count()).select_from(versions))
    assert kept == len(ledger.audit_entries(limit=10**6)) >= promised
    with ledger.transaction() as tx:  # the next writer need not wait
        ledger.audit(tx, "a", "go", "on")
    ledger.close()


def test_a_killed_owner_is_replaced_at_once(ledger: Ledger, ledger_url: str, victim: Start) -> None:
    running = victim("hold", ledger_url, 600)
    run = running.line()
    with pytest.raises(LeaseHeld, match=f"process {running.process.pid} "), ledger.lease("project"):
        pass
    running.kill()
    with ledger.lease("project") as lease:
        assert lease.number == 2
        assert ledger.runs()[0].status == "interrupted"
        ledger.begin_run("project", {}, {})
    found = {one.id: one for one in ledger.runs()}
    assert found[run].status == "interrupted"
    assert found[run].ended is not None


def test_a_killed_owner_that_nobody_reaped_is_replaced_too(ledger: Ledger, ledger_url: str, victim: Start) -> None:
    running = victim("hold", ledger_url, 600)
    running.line()
    os.kill(running.process.pid, signal.SIGKILL)
    while process._start(running.process.pid) != "gone":
        time.sleep(0.01)
    with ledger.lease("project"):
        pass


def test_a_paused_owner_loses_its_lease_and_can_no_longer_write(ledger: Ledger, ledger_url: str, victim: Start) -> None:
    running = victim("hold", ledger_url, 3)
    running.line()
    with ledger.transaction():  # or it might be paused while it renews its lease, and nobody else could write
        os.kill(running.process.pid, signal.SIGSTOP)
    waited: list[str] = []
    with ledger.lease("project", wait_s=60, on_wait=waited.append) as lease:
        os.kill(running.process.pid, signal.SIGCONT)
        running.tell("write")
        assert running.line() == "LeaseHeld"
        assert running.line() == "LeaseHeld"
        lease.check()
        ledger.record("key", "mine", fence=lease)
    assert ledger.result("key") == "mine"
    assert len(waited) == 1
    assert str(running.process.pid) in waited[0]


def test_a_signature_is_dead_only_where_that_is_certain() -> None:
    own = process.sign()
    assert not process.is_dead(str(own))
    others = {
        "another start": process.Signature(own.host, own.pid, f"{own.place}.1", "x"),
        "no such process": process.Signature(own.host, 2**22 + 1, f"{own.place}.1", "x"),
    }
    assert all(process.is_dead(str(one)) for one in others.values())
    elsewhere = [
        process.Signature("another-host", own.pid, f"{own.place}.1", "x"),
        process.Signature(own.host, 2**22 + 1, "other-boot/1.1", "x"),
    ]
    assert not any(process.is_dead(str(one)) for one in elsewhere)
    assert not process.is_dead("no signature")
    assert [process.was_rebooted(str(one)) for one in elsewhere] == [False, True]
    assert not process.was_rebooted(str(own))
