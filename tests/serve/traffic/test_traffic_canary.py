"""Canaries and A/B tests that run by themselves: over real servers, under load, with truth that arrives."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from luban.bundle.bundle import Bundle
from luban.release.rollout import Canary, CanaryRule, TestRule, Trial
from luban.store.database import Transaction
from waiting import until

from ..deploying import ADA, House, Load, tell_truth

RECORDED = {"records": {"answers": True}}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def rule(**more: Any) -> CanaryRule:
    """Two steps in quick succession."""
    fast = {"steps": (0.2, 0.5), "step_s": 0.3, "min_requests": 20, "max_latency_ratio": None}
    return CanaryRule.model_validate({**fast, **more})


def canary(house: House) -> Canary:
    found = house.now.state.canary
    assert found is not None
    return found


def trial(house: House) -> Trial:
    found = house.now.state.test
    assert found is not None
    return found


def test_a_canary_steps_up_and_becomes_champion(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.release()
    house.release()
    with caplog.at_level(logging.INFO, "luban.serve"), house.server() as address, Load([address]) as load:
        house.deployments.start_canary("reviews", 2, rule(promote=True), ADA)
        until(lambda: canary(house).status == "promoted")
        until(lambda: load.asked[-1][1] == 2)
    assert load.failures == []
    assert house.registry.resolve("reviews").number == 2
    assert [step.share for step in canary(house).steps] == [0.2, 0.5]
    actor, reason = house.trail("promote")[0]
    assert actor == "canary"
    assert "Held at 0.5" in reason
    assert "No truth has come of its answers" in reason
    assert [who for who, _ in house.trail("step")] == ["canary"]
    house.home.ledger.verify_audit()
    logged = [(one.message, one.fields) for one in caplog.records if hasattr(one, "fields")]
    arms = [fields["arms"] for said, fields in logged if said == "model answers"]
    assert (arms[0], arms[-1]) == ("champion 1: 1", "champion 2: 1")
    assert "champion 1: 0.8, canary 2: 0.2" in arms
    assert [fields["reason"] for said, fields in logged if said == "deployment moved"][-1] == reason


def test_a_canary_that_passed_waits_for_a_person(house: House) -> None:
    house.release()
    house.release()
    with house.server() as address, Load([address]):
        house.deployments.start_canary("reviews", 2, rule(), ADA)
        until(lambda: canary(house).status == "passed")
    assert house.now.split == (("canary", 2, 0.5),)
    assert house.registry.resolve("reviews").number == 1


def test_a_canary_that_fails_requests_goes_back(house: House) -> None:
    """The challenger does not know the column that clients send."""
    house.release()
    house.release_without("stars")
    with house.server() as address, Load([address]) as load:
        house.deployments.start_canary("reviews", 2, rule(), ADA)
        until(lambda: canary(house).status == "rolled back")
        until(lambda: [version for _, version in load.asked[-50:]] == [1] * 50)
    actor, reason = house.trail("rollback")[0]
    assert actor == "canary"
    assert reason.startswith("Its requests fail more often than the champion's")
    assert load.failures == [], "rows got errors in place; no request was lost"


def test_a_canary_that_is_slow_goes_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.release()
    house.release()
    slow, own = house.registry.resolve("reviews", "2").identity, Bundle.run

    def run(bundle: Bundle, arrays: Any) -> Any:
        if bundle.identity == slow:
            time.sleep(0.1)  # far more than twice a champion's answer on any machine
        return own(bundle, arrays)

    monkeypatch.setattr(Bundle, "run", run)
    with house.server() as address, Load([address], clients=1):
        house.deployments.start_canary("reviews", 2, rule(max_latency_ratio=2.0), ADA)
        until(lambda: canary(house).status == "rolled back")
    assert house.trail("rollback")[0][1].startswith("Its answers take more than 2 times the champion's")


def test_a_canary_that_is_wrong_goes_back_as_truth_arrives(house: House) -> None:
    house.release(bias=9.0)
    house.release(bias=-9.0)
    with house.server(**RECORDED) as address, httpx.Client(base_url=address, timeout=20) as client:
        with Load([address]) as load:
            house.deployments.start_canary("reviews", 2, rule(quality="required", min_truths=1000), ADA)
            until(lambda: load.versions[2] >= 30)
        assert canary(house).status == "running", "nobody knows yet that it is wrong"
        tell_truth(client, load.asked, lambda version: "good")
        until(lambda: canary(house).status == "rolled back")
    actor, reason = house.trail("rollback")[0]
    assert actor == "canary"
    assert reason.startswith("It is right less often: 0 of")


def test_no_step_without_truth_where_it_is_required(house: House) -> None:
    house.release()
    house.release()
    with house.server(**RECORDED) as address, httpx.Client(base_url=address, timeout=20) as client:
        house.deployments.start_canary("reviews", 2, rule(quality="required", min_truths=10), ADA)
        with Load([address]) as load:
            until(lambda: load.versions[2] >= 60)
        assert (canary(house).status, len(canary(house).steps)) == ("running", 1)
        tell_truth(client, load.asked, lambda version: "good")
        until(lambda: len(canary(house).steps) == 2)
    assert "Right answers: " in house.trail("step")[0][1]


def test_an_ab_test_finds_the_better_one_and_promotes_it(house: House) -> None:
    house.release(bias=-9.0)
    house.release(bias=9.0)
    with house.server(**RECORDED) as address, httpx.Client(base_url=address, timeout=20) as client:
        house.deployments.start_test("reviews", 2, TestRule(promote=True), ADA)
        with Load([address]) as load:
            until(lambda: min(load.versions[1], load.versions[2]) >= 30)
        tell_truth(client, load.asked, lambda version: "good")
        until(lambda: trial(house).status == "promoted")
        until(lambda: client.get("/ready").json()["version"] == 2)
    actor, reason = house.trail("promote")[0]
    assert actor == "test"
    assert reason.startswith("accuracy: 1 of ")


def test_an_ab_test_on_a_business_figure(house: House) -> None:
    house.release()
    house.release()
    with house.server(**RECORDED) as address, httpx.Client(base_url=address, timeout=20) as client:
        house.deployments.start_test("reviews", 2, TestRule(metric="revenue", min_units=30), ADA)
        with Load([address]) as load:
            until(lambda: min(load.versions[1], load.versions[2]) >= 60)
        asked = load.asked
        items = [
            {"request_id": one, "position": 0, "figures": {"revenue": (5 if version == 1 else 2) + number % 3}}
            for number, (one, version) in enumerate(asked)
        ]
        for start in range(0, len(items), 100):
            response = client.post("/v1/feedback", json={"feedback": items[start : start + 100]})
            assert response.status_code == 200, response.text
        until(lambda: trial(house).status == "worse")
    assert house.now.split == ()
    assert house.trail("decide")[0][1].startswith("revenue: ")


def test_a_clock_that_is_set_back_holds_no_step_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step lasts as long as the process that leads has seen it, whatever the ledger's clock says."""
    house.release()
    house.release()
    real = Transaction.clock
    house.deployments.start_canary("reviews", 2, rule(min_requests=1, step_s=0.2), ADA)
    monkeypatch.setattr(Transaction, "clock", lambda tx: real(tx) - 86_400)
    with house.server() as address, Load([address]):
        until(lambda: canary(house).status == "passed")


def test_another_champion_ends_a_canary_formally(house: House) -> None:
    for _ in range(3):
        house.release()
    with house.server():
        house.deployments.start_canary("reviews", 2, rule(), ADA)
        house.registry.promote("reviews", 3, ADA)
        until(lambda: canary(house).status == "stopped")
    assert house.trail("stop") == [("canary", "Version 3 became champion by another command.")]


@contextmanager
def processes(house: House, count: int) -> Iterator[tuple[list[Any], list[str]]]:
    started = []
    try:
        for _ in range(count):
            started.append(house.start())
        yield [process for process, _ in started], [address for _, address in started]
    finally:
        for process, _ in started:
            if process.poll() is None:
                process.terminate()
            process.wait(60)
            process.stdout.close()


@pytest.mark.long
def test_two_servers_one_controller_and_another_takes_over(house: House) -> None:
    """The server that leads is killed in the middle; the other goes on, and each step is taken once."""
    house.release()
    house.release()
    with processes(house, 2) as (servers, addresses):
        house.deployments.start_canary("reviews", 2, rule(steps=(0.2, 0.4, 0.6), step_s=1.0), ADA)
        with Load(addresses, clients=2) as load:
            until(lambda: leading(house) is not None)
            led = leading(house)
            leader, other = (servers, servers[::-1])[led != servers[0].pid]
            until(lambda: len(canary(house).steps) >= 2)
            os.kill(leader.pid, signal.SIGKILL)
            until(lambda: canary(house).status == "passed", 60)
            assert leading(house) in (None, other.pid)
        assert load.versions[2] > 20
    assert len(house.trail("step")) == 3, "0.4, 0.6, passed: once each"
    assert {actor for actor, _ in house.trail("step")} == {"canary"}


@pytest.mark.long
def test_a_restart_in_the_middle_of_a_canary(house: House) -> None:
    house.release()
    house.release()
    house.deployments.start_canary("reviews", 2, rule(steps=(0.3, 0.6)), ADA)
    with processes(house, 1) as (_, addresses), Load(addresses) as load:
        until(lambda: len(canary(house).steps) == 2)
    assert load.versions[2] > 0
    assert canary(house).status in ("running", "passed")
    with processes(house, 1) as (_, addresses), Load(addresses) as load:
        until(lambda: canary(house).status == "passed" and load.versions[2] > 0)
    assert load.versions[2] > 0, "the new process shares the questions as the old one did"


@pytest.mark.long
def test_promotions_and_rollbacks_under_load_lose_nothing(house: House) -> None:
    """Two processes, four clients; champion to and fro, a canary and its rollback: not one failed request."""
    for _ in range(3):
        house.release()
    with processes(house, 2) as (_, addresses), Load(addresses, clients=4) as load:
        for number in (2, 3, 2, 1):
            house.deployments.promote("reviews", number, ADA)
            until(lambda number=number: {version for _, version in load.asked[-20:]} == {number})
        house.deployments.start_canary("reviews", 3, CanaryRule(steps=(0.5,), max_latency_ratio=None), ADA)
        until(lambda: load.asked[-1][1] == 3)
        house.deployments.rollback("reviews", ADA)
        until(lambda: {version for _, version in load.asked[-40:]} == {1})
        house.registry.rollback("reviews", ADA)
        until(lambda: {version for _, version in load.asked[-20:]} == {2})
    assert load.failures == []
    assert set(load.versions) == {1, 2, 3}


def leading(house: House) -> int | None:
    """The process that holds the lease."""
    from sqlalchemy import select

    from luban.store.tables import leases

    with house.home.ledger.reading() as tx:
        owner = tx.scalar(select(leases.c.owner).where(leases.c.name == "deployments:reviews"))
    return None if owner is None else int(str(owner).rsplit(":", 3)[1])
