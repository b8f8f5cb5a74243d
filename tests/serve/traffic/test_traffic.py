"""Deployments reach running servers: weights, sticky callers, shadows, and a version that cannot load."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.release.rollout import CanaryRule
from luban.serve.fleet.routing import Arm, Routing
from luban.serve.traffic import counts
from luban.serve.traffic.control import Controller
from luban.serve.traffic.told import told
from luban.store.home import STATE
from waiting import until

from ..deploying import ADA, House, Load

ROW = {"rows": [{"text": "很好", "stars": 4}]}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def routing(*weights: float, salt: str = "") -> Routing:
    """Arms named 0, 1, …; what they serve is not looked at."""
    return Routing(tuple(Arm(str(n), None, w) for n, w in enumerate(weights)), salt=salt)  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [(0.95, 0.05), (0.5, 0.5), (0.7, 0.2, 0.1)])
def test_the_split_is_within_one_point_at_100_000_keys(weights: tuple[float, ...]) -> None:
    shared = routing(*weights, salt="canary 7")
    counts = [0] * len(weights)
    for number in range(100_000):
        counts[int(shared.pick(f"caller-{number}").arm.name)] += 1
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count / 100_000 - weight) < 0.01


@settings(max_examples=200, deadline=None)
@given(st.text(), st.lists(st.floats(0.001, 0.999), min_size=2, max_size=8, unique=True), st.text(max_size=20))
def test_a_caller_moves_at_most_once_while_a_canary_steps_up(sticky: str, shares: list[float], salt: str) -> None:
    way = [int(routing(1 - share, share, salt=salt).pick(sticky).arm.name) for share in sorted(shares)]
    assert way == sorted(way), "from the champion to the canary, and never back"


def test_another_trial_draws_others() -> None:
    first, second = (routing(0.5, 0.5, salt=salt) for salt in ("canary 1", "canary 2"))
    callers = [f"caller-{number}" for number in range(2000)]
    both = sum(first.pick(one).arm.name == second.pick(one).arm.name for one in callers)
    assert 850 < both < 1150


def test_weights_are_set_at_run_time_and_callers_stick(house: House) -> None:
    house.release()
    house.release(bias=9.0)
    with house.server() as address, httpx.Client(base_url=address, timeout=20) as client:

        def version(sticky: str) -> int:
            found: int = client.post("/v1/predict", json=ROW, headers={"x-sticky-key": sticky}).json()["version"]
            return found

        assert {version(f"k{n}") for n in range(50)} == {1}
        house.deployments.set_weights("reviews", {2: 0.5}, ADA)
        until(lambda: len({version(f"k{n}") for n in range(30)}) == 2)
        first = [version(f"k{n}") for n in range(100)]
        assert 25 < first.count(2) < 75
        assert [version(f"k{n}") for n in range(100)] == first, "the same caller, the same version"
        house.deployments.rollback("reviews", ADA)
        until(lambda: {version(f"k{n}") for n in range(30)} == {1})


def test_another_champion_by_the_other_command_gets_all_questions(house: House) -> None:
    for _ in range(3):
        house.release()
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    with house.server() as address, httpx.Client(base_url=address, timeout=20) as client:

        def versions() -> set[int]:
            return {client.post("/v1/predict", json=ROW).json()["version"] for _ in range(30)}

        until(lambda: versions() == {1, 2})
        house.registry.promote("reviews", 3, ADA)
        until(lambda: versions() == {3})


def test_a_shadow_is_compared_and_never_heard(house: House) -> None:
    house.release(bias=9.0)
    house.release(bias=-9.0)
    house.deployments.set_shadows("reviews", (2,), ADA)
    with house.server() as address, httpx.Client(base_url=address, timeout=20) as client:
        controller = Controller(house.home.ledger, house.deployments)

        def shadow() -> dict:
            return told(house.home.ledger, controller.look("reviews"))["shadows"][0]

        def asked() -> int:
            found = client.post("/v1/predict", json=ROW).json()
            assert (found["version"], found["answers"][0]["label"]) == (1, "good")
            return shadow()["asked"]

        until(lambda: asked() >= 20)
        found = shadow()
        assert (found["agreement"], found["failed"]) == (0.0, 0)
        assert found["mean_difference"] > 0.5
        assert found["mean_ms"] > 0
        text = client.get("/metrics").text
        line = 'luban_shadow_answers_total{agrees="no",arm="shadow",model="reviews",version="2"}'
        assert line in text
        assert 'luban_shadow_answers_total{agrees="yes",arm="shadow",model="reviews",version="2"} 0.0' in text
        house.deployments.set_shadows("reviews", (), ADA)
        until(lambda: 'luban_arm_weight_ratio{arm="shadow"' not in client.get("/metrics").text)


def test_a_canary_that_cannot_be_loaded_leaves_the_champion_and_goes_back(house: House) -> None:
    house.release()
    house.release(false_identity=True)
    with house.server() as address, Load([address]) as load:
        house.deployments.start_canary("reviews", 2, CanaryRule(), ADA)
        until(lambda: house.now.state.canary is not None and house.now.state.canary.status == "rolled back")
    actor, reason = house.trail("rollback")[0]
    assert actor == "canary"
    assert "cannot serve it" in reason
    assert "Version 2 of `reviews` is refused" in reason
    assert (load.failures, set(load.versions)) == ([], {1})


def test_a_server_that_starts_with_a_bad_canary_serves_the_champion(house: House) -> None:
    house.release()
    house.release(false_identity=True)
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    house.deployments.set_shadows("reviews", (2,), ADA)
    with house.server() as address, httpx.Client(base_url=address, timeout=20) as client:
        assert {client.post("/v1/predict", json=ROW).json()["version"] for _ in range(20)} == {1}
        refused = client.get("/ready").json()["newest_refused"]
        assert "Version 2 of `reviews` is refused" in refused
        house.release()
        house.registry.promote("reviews", 3, ADA)
        until(lambda: client.post("/v1/predict", json=ROW).json()["version"] == 3)
        loads = 'luban_model_refusals_total{model="reviews"} 1.0'
        assert loads in client.get("/metrics").text, "what was refused is not loaded again at each look"


class TestOverHttp:
    def test_a_pipeline_rolls_out(self, house: House) -> None:
        for _ in range(3):
            house.release()
        with house.server() as address, httpx.Client(base_url=f"{address}/v1/deployments/", timeout=20) as client:
            assert client.get("reviews").json()["arms"][0]["version"] == 1
            found = client.post("reviews/weights", json={"shares": {"2": 0.25}, "reason": "try it"}).json()
            assert [(arm["arm"], arm["version"], arm["share"]) for arm in found["arms"]] == [
                ("champion", 1, 0.75),
                ("v2", 2, 0.25),
            ]
            assert client.post("reviews/shadow", json={"versions": [3]}).json()["shadows"][0]["shadow"] == 3
            rule = {"steps": [0.1], "step_s": 60}
            found = client.post("reviews/canary", json={"version": 2, "rule": rule}).json()
            assert (found["canary"]["status"], found["arms"][1]["share"]) == ("running", 0.1)
            again = client.post("reviews/test", json={"version": 3})
            assert (again.status_code, again.json()["type"]) == (409, "urn:luban:problem:not-now")
            assert client.post("reviews/rollback").json()["canary"]["status"] == "rolled back"
            assert client.post("reviews/test", json={"version": 2}).json()["test"]["status"] == "running"
            assert client.post("reviews/stop", json={"reason": "enough"}).json()["test"]["status"] == "stopped"
            assert client.post("reviews/promote", json={"version": 2}).json()["arms"][0]["version"] == 2
        assert house.trail("stop")[0] == ("anybody", "enough")

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("nothing/rollback", {}, 404),
            ("reviews/rollback", {}, 409),
            ("reviews/promote", {"version": 9}, 409),
            ("reviews/promote", {"version": 10**30}, 422),
            ("reviews/weights", {"shares": {"two": 0.5}}, 422),
            ("reviews/weights", {"shares": {"1": 0.5}}, 409),
            ("reviews/canary", {"version": 1, "rule": {"steps": [0.5, 0.1]}}, 422),
            ("reviews/canary", [], 422),
        ],
    )
    def test_what_cannot_be(self, house: House, path: str, body: object, status: int) -> None:
        house.release()
        with house.server() as address:
            response = httpx.post(f"{address}/v1/deployments/{path}", json=body)
        assert response.status_code == status, response.text
        assert house.now.revision == 0


def counted(house: House) -> dict[int, int]:
    """Requests by version that servers wrote to the ledger."""
    found: Counter[int] = Counter()
    for row in counts.read(house.home.ledger, "reviews", "default", 1):
        found[row.version] += int(row.figures.get("requests", 0))
    return dict(found)


def test_counts_of_all_servers_are_what_clients_saw(house: House) -> None:
    """Also of two servers, also while the ledger is locked for a while, also what came last before they stopped."""
    house.release()
    house.release()
    house.deployments.set_weights("reviews", {2: 0.3}, ADA)
    with house.server() as one, house.server() as other, Load([one, other], clients=2) as load:
        until(lambda: load.versions.total() > 50)
        with closing(sqlite3.connect(house.folder / STATE / "ledger.db", isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            before = load.versions.total()
            until(lambda: load.versions.total() > before + 100)
            locking.execute("ROLLBACK")
    assert load.failures == []
    assert counted(house) == dict(load.versions)


def test_a_version_may_be_an_arm_and_a_shadow_at_once(house: House) -> None:
    house.release()
    house.release()
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    house.deployments.set_shadows("reviews", (2,), ADA)
    with house.server() as address, Load([address]) as load:
        until(lambda: min(load.versions[1], load.versions[2]) > 30)
    found = told(house.home.ledger, Controller(house.home.ledger, house.deployments).look("reviews"))
    assert {arm["version"]: arm["requests"] for arm in found["arms"]} == dict(load.versions)
    assert found["shadows"][0]["asked"] > 0
    assert found["shadows"][0]["asked"] + found["shadows"][0]["dropped"] <= load.versions.total()


def test_a_shadow_that_cannot_keep_up_drops_and_slows_nobody(house: House) -> None:
    house.release()
    house.release(ballast_mb=30)
    house.deployments.set_shadows("reviews", (2,), ADA)
    with house.server(traffic={"write_s": 0.1, "shadow_waiting": 2}) as address, Load([address]) as load:
        until(lambda: load.versions[1] > 200)
    found = told(house.home.ledger, Controller(house.home.ledger, house.deployments).look("reviews"))["shadows"][0]
    assert load.failures == []
    assert found["dropped"] > 0
    assert load.versions.total() - 3 <= found["asked"] + found["dropped"] <= load.versions.total(), found
