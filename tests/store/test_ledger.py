from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert

from luban.errors import LeaseHeld, StoreError
from luban.store.ledger import Ledger
from luban.store.tables import results

from .conftest import Victim


def test_a_result_is_recorded_once(ledger: Ledger) -> None:
    assert ledger.result("key") is None
    ledger.record("key", {"tree": "abc", "numbers": [1, 0.1, None]})
    ledger.record("key", {"numbers": [1, 0.1, None], "tree": "abc"})
    with pytest.raises(StoreError, match="recorded before"):
        ledger.record("key", {"tree": "other"})
    assert ledger.result("key") == {"tree": "abc", "numbers": [1, 0.1, None]}
    assert ledger.forget("key")
    assert not ledger.forget("key")
    ledger.record("key", 2)
    assert ledger.result("key") == 2


def test_workspaces_see_nothing_of_each_other(ledger: Ledger, ledger_url: str) -> None:
    other = Ledger(ledger_url, "other")
    ledger.record("key", 1)
    ledger.decide("s", "k", lambda: 1)
    ledger.begin_run("n", {}, {})
    with ledger.transaction() as tx:
        ledger.audit(tx, "a", "v", "o")
    with ledger.lease("name"), other.lease("name"):
        pass
    assert (other.result("key"), other.decisions("s"), other.runs(), other.audit_entries()) == (None, {}, [], [])
    other.record("key", 2)
    assert ledger.result("key") == 1
    other.close()


def test_a_transaction_is_all_or_nothing(ledger: Ledger) -> None:
    with pytest.raises(KeyError), ledger.transaction() as tx:  # noqa: PT012
        tx.execute(insert(results).values(workspace="default", key="k", value="1", time="t"))
        ledger.audit(tx, "a", "v", "o")
        raise KeyError
    assert ledger.result("k") is None
    assert ledger.audit_entries() == []


def test_a_transaction_within_a_transaction_is_a_mistake(ledger: Ledger) -> None:
    with ledger.transaction():
        with pytest.raises(AssertionError, match="within a transaction"):
            ledger.record("k", 1)
        assert ledger.result("k") is None
    ledger.record("k", 1)


def test_a_decision_is_made_once_and_replayed(ledger: Ledger) -> None:
    made: list[int] = []
    first = ledger.decide("run", "steps", lambda: made.append(1) or ("a", 0.1))
    assert first == ["a", 0.1], "the first use sees what every replay will see"
    assert ledger.decide("run", "steps", lambda: made.append(1)) == first
    assert made == [1]
    assert ledger.decide("run", "nothing", lambda: None) is None
    assert ledger.decide("run", "nothing", lambda: 1) is None
    assert ledger.decisions("run") == {"steps": first, "nothing": None}
    assert ledger.decisions("other") == {}


def test_decisions_of_another_run_are_loaded_before(ledger: Ledger) -> None:
    ledger.preset("new", {"a": 1, "b": [2]})
    ledger.preset("new", {"a": 1})
    assert ledger.decide("new", "a", lambda: 7) == 1
    with pytest.raises(StoreError, match="`b` was made before"):
        ledger.preset("new", {"c": 3, "b": 9})
    assert ledger.decisions("new") == {"a": 1, "b": [2]}, "all or nothing"


def test_threads_agree_on_every_decision(ledger: Ledger) -> None:
    barrier = threading.Barrier(6)

    def decide(mine: int) -> list[object]:
        barrier.wait()
        return [ledger.decide("s", str(key), lambda: mine) for key in range(10)]

    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(decide, range(6)))
    assert all(one == seen[0] for one in seen)
    assert [ledger.decisions("s")[str(key)] for key in range(10)] == seen[0]


def test_processes_agree_on_every_decision(ledger_url: str, victim: Callable[..., Victim]) -> None:
    deciders = [victim("decide", ledger_url, name) for name in "abcd"]
    for one in deciders:
        assert one.line() == "ready"
    for one in deciders:
        one.tell("go")
    seen = [json.loads(one.line()) for one in deciders]
    assert all(one == seen[0] for one in seen)


def test_a_lease_has_one_owner_and_a_growing_number(ledger: Ledger) -> None:
    numbers = []
    for _ in range(3):
        with ledger.lease("name") as lease:
            numbers.append(lease.number)
            with pytest.raises(LeaseHeld, match=r"held by process \d+ on .* since 2"), ledger.lease("name"):
                pass
            with ledger.lease("another"):
                lease.check()
    assert numbers == [1, 2, 3]


def test_a_lease_is_given_back_after_an_error_and_no_longer_a_fence(ledger: Ledger) -> None:
    with pytest.raises(KeyError), ledger.lease("name") as lease:
        raise KeyError
    with pytest.raises(LeaseHeld, match="nobody has it"):
        ledger.record("key", 1, fence=lease)
    with ledger.lease("name"), pytest.raises(LeaseHeld, match="was lost"):
        ledger.record("key", 1, fence=lease)
    assert ledger.result("key") is None


def test_the_heartbeat_keeps_a_lease_beyond_its_time(ledger: Ledger) -> None:
    with ledger.lease("name", ttl_s=0.3) as lease:
        with pytest.raises(LeaseHeld), ledger.lease("name", wait_s=1.0):
            pass
        lease.check()


def test_waiting_for_a_lease_gets_it_when_it_is_free(ledger: Ledger) -> None:
    told: list[str] = []
    had, freed = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger.lease("name"):
            had.set()
            freed.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    had.wait()

    def on_wait(message: str) -> None:
        told.append(message)
        freed.set()

    with ledger.lease("name", wait_s=30, on_wait=on_wait) as lease:
        assert lease.number == 2
    thread.join()
    assert len(told) == 1


def test_only_one_thread_at_a_time_is_under_a_lease(ledger: Ledger) -> None:
    inside: list[int] = []

    def work(number: int) -> int:
        with ledger.lease("name", wait_s=60) as lease:
            inside.append(number)
            assert inside == [number]
            inside.remove(number)
            return lease.number

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(1, 9))


def test_a_run_has_events_and_an_end(ledger: Ledger) -> None:
    run = ledger.begin_run("reviews", {"seed": 1}, {"python": "3"})
    ledger.event(run, "prepare", "started", {"rows": 3})
    ledger.event(run, "prepare", "finished")
    assert ledger.runs()[0].status == "running"
    ledger.end_run(run, "done")
    (found,) = ledger.runs("reviews")
    assert (found.id, found.status, found.config, found.environment) == (run, "done", {"seed": 1}, {"python": "3"})
    assert found.ended is not None
    assert found.started <= found.ended
    assert [(e.number, e.verb, e.message, e.data) for e in ledger.events(run)] == [
        (1, "prepare", "started", {"rows": 3}),
        (2, "prepare", "finished", None),
    ]
    other = ledger.begin_run("other", {}, {})
    assert [one.id for one in ledger.runs(limit=1)] == [other]
    for unknown in (lambda: ledger.end_run("none", "done"), lambda: ledger.event("none", "v", "m")):
        with pytest.raises(StoreError, match="no run `none`"):
            unknown()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "::"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(StoreError, match="`ledger` must be"):
        Ledger(url)


def test_what_is_not_a_ledger_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"certainly not a database" * 100)
    with pytest.raises(StoreError, match="not a ledger"):
        Ledger(tmp_path / "file").result("key")
    with pytest.raises(StoreError, match="cannot be used") as caught:
        Ledger("postgresql://ada:secret@127.0.0.1:1/none").result("key")
    assert "secret" not in str(caught.value)


def test_a_ledger_may_be_used_after_a_fork(ledger: Ledger) -> None:
    import os

    with ledger.lease("name") as lease:
        child = os.fork()
        if child == 0:  # in the child: leave by _exit whatever happens
            try:
                ledger.record("child", ledger.result("none"))
                try:
                    ledger.record("fenced", 1, fence=lease)
                except LeaseHeld:
                    os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        ledger.record("parent", 1, fence=lease)
    assert ledger.result("fenced") is None
