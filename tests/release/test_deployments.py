"""Deployments: one transaction and one audit entry a change; `luban models` and `luban deployments` agree."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from luban.errors import Denied, LeaseHeld, ReleaseError
from luban.policy.rules import Actor
from luban.release.deployments import Deployments, Hold
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.release.rollout import CanaryRule, State, TestRule
from luban.store.blobs import Store
from luban.store.ledger import Ledger

ADA, CANARY = Actor("ada"), Actor("canary")
PASSED = [Verdict("G001", "Does it beat it?", "passed", "It does.")]


class House:
    """A registry with four versions of `reviews`; 1 is champion."""

    def __init__(self, folder: Path, ledger_url: str) -> None:
        store = Store(folder / "store")
        self.ledger = Ledger(ledger_url)
        self.registry = Registry(self.ledger, store)
        self.deployments = Deployments(self.ledger, self.registry)
        for number in range(1, 5):
            bundle = folder / f"bundle-{number}"
            bundle.mkdir()
            (bundle / "manifest.json").write_text(str(number), "utf-8")
            self.registry.release(Release("reviews", store.publish(bundle), f"{number:064x}", PASSED), ADA)

    @property
    def split(self) -> dict[int, float]:
        return {number: share for _, number, share in self.deployments.read("reviews").split}

    def trail(self) -> list[tuple[str, str, str]]:
        return [(row["actor"], row["verb"], row["detail"].get("reason", "")) for row in self.history()]

    def history(self) -> list[dict]:
        return self.deployments.history("reviews")


@pytest.fixture
def house(tmp_path: Path, ledger_url: str) -> Iterator[House]:
    made = House(tmp_path, ledger_url)
    yield made
    made.ledger.close()


def test_nothing_said_is_the_champion_alone(house: House) -> None:
    at = house.deployments.read("reviews")
    assert (at.champion, at.revision, at.split, at.shadows) == (1, 0, (), ())
    assert house.deployments.read("unknown").champion is None


def test_each_change_is_a_revision_and_an_audit_entry(house: House) -> None:
    house.deployments.set_weights("reviews", {2: 0.2, 3: 0.1}, ADA, reason="try both")
    house.deployments.set_shadows("reviews", (4,), ADA)
    at = house.deployments.read("reviews")
    assert at.revision == 2
    assert at.split == (("v2", 2, 0.2), ("v3", 3, 0.1))
    assert at.shadows == (4,)
    newest = house.history()[0]
    assert (newest["verb"], newest["object"]) == ("shadow", "model reviews deployment default")
    assert newest["detail"] == {"revision": 2, "versions": [4]}
    assert house.trail()[1] == ("ada", "weights", "try both")
    house.ledger.verify_audit()


@pytest.mark.parametrize(
    ("shares", "says"),
    [({9: 0.1}, "no version 9"), ({1: 0.1}, "is the champion"), ({2: 0.6, 3: 0.6}, "at most"), ({2: 0.0}, "above 0")],
)
def test_shares_that_cannot_be(house: House, shares: dict[int, float], says: str) -> None:
    with pytest.raises(ReleaseError, match=says):
        house.deployments.set_weights("reviews", shares, ADA)
    assert house.deployments.read("reviews").revision == 0
    assert not [row for row in house.history() if row["verb"] == "weights"], "nothing was done, nothing is on the trail"


def test_a_viewer_may_not(house: House) -> None:
    with pytest.raises(Denied, match="takes the role operator"):
        house.deployments.set_weights("reviews", {2: 0.5}, Actor("vera", "viewer"))


def test_a_canary_goes_through_its_steps_and_passes(house: House) -> None:
    rule = CanaryRule(steps=(0.05, 0.5))
    at = house.deployments.start_canary("reviews", 2, rule, ADA)
    assert (house.split, at.state.salt) == ({2: 0.05}, "canary 1")
    at = house.deployments.step(Hold(at), CANARY, "it holds")
    assert (house.split, at.state.salt) == ({2: 0.5}, "canary 1")
    assert at.state.canary is not None
    assert [step.revision for step in at.state.canary.steps] == [1, 2]
    at = house.deployments.step(Hold(at), CANARY, "all steps have held")
    assert at.state.canary is not None
    assert (at.state.canary.status, house.split) == ("passed", {2: 0.5})
    with pytest.raises(ReleaseError, match="No canary"):
        house.deployments.step(Hold(at), CANARY, "again")
    at = house.deployments.promote("reviews", 2, CANARY, "it passed", hold=Hold(at))
    assert at.state.canary is not None
    assert (at.champion, at.previous, at.state.canary.status, at.split) == (2, 1, "promoted", ())
    assert house.registry.resolve("reviews").number == 2
    assert next(row["verb"] for row in house.registry.history("reviews")) == "promote"


def test_rollback_ends_the_split_first_and_only_then_moves_the_champion(house: House) -> None:
    house.deployments.promote("reviews", 2, ADA)
    house.deployments.start_canary("reviews", 3, CanaryRule(), ADA)
    at = house.deployments.rollback("reviews", ADA, "guests complain")
    assert at.state.canary is not None
    assert (at.champion, at.split, at.state.canary.status) == (2, (), "rolled back")
    at = house.deployments.rollback("reviews", ADA)
    assert (at.champion, at.previous) == (1, 2)
    assert house.trail()[0][:2] == ("ada", "rollback")


def test_promotion_by_the_other_command_voids_the_split(house: House) -> None:
    house.deployments.start_canary("reviews", 2, CanaryRule(), ADA)
    house.registry.promote("reviews", 3, ADA)
    assert house.split == {}
    house.deployments.set_weights("reviews", {2: 0.3}, ADA)
    at = house.deployments.read("reviews")
    assert at.state.canary is not None
    assert (house.split, at.state.canary.status) == ({2: 0.3}, "stopped")
    house.registry.rollback("reviews", ADA)
    assert house.split == {}, "weights beside another champion are void, too"


def test_one_thing_at_a_time(house: House) -> None:
    house.deployments.start_test("reviews", 2, TestRule(share=0.4), ADA)
    assert house.split == {2: 0.4}
    with pytest.raises(ReleaseError, match="A test of version 2 is under way"):
        house.deployments.start_canary("reviews", 3, CanaryRule(), ADA)
    house.deployments.stop("reviews", ADA, "enough")
    house.deployments.start_canary("reviews", 3, CanaryRule(), ADA)
    assert house.split == {3: 0.05}


def test_a_test_comes_to_its_result(house: House) -> None:
    at = house.deployments.start_test("reviews", 2, TestRule(), ADA)
    at = house.deployments.decide(Hold(at), "worse", CANARY, "0.8 against 0.9")
    assert (at.split, at.state.test and at.state.test.status) == ((), "worse")
    at = house.deployments.start_test("reviews", 3, TestRule(), ADA)
    at = house.deployments.decide(Hold(at), "better", CANARY, "0.95 against 0.9")
    assert house.split == {3: 0.5}, "better, but nobody said that it be promoted"


def test_who_comes_late_is_refused(house: House) -> None:
    at = house.deployments.start_canary("reviews", 2, CanaryRule(), ADA)
    house.deployments.rollback("reviews", ADA)
    for act in (
        lambda: house.deployments.step(Hold(at), CANARY, "it holds"),
        lambda: house.deployments.promote("reviews", 2, CANARY, "", hold=Hold(at)),
        lambda: house.deployments.stop("reviews", CANARY, "", hold=Hold(at)),
    ):
        with pytest.raises(ReleaseError, match="changed meanwhile"):
            act()
    assert house.registry.resolve("reviews").number == 1


def test_whoever_lost_the_lease_is_refused(house: House) -> None:
    at = house.deployments.start_canary("reviews", 2, CanaryRule(), ADA)
    with house.ledger.lease("canary reviews") as lost:
        pass
    with pytest.raises(LeaseHeld):
        house.deployments.step(Hold(at, lost), CANARY, "it holds")


def test_two_at_once_take_turns(house: House) -> None:
    at = house.deployments.start_canary("reviews", 2, CanaryRule(), ADA)
    done: list[str] = []

    def act() -> None:
        try:
            house.deployments.step(Hold(at), CANARY, "it holds")
            done.append("stepped")
        except ReleaseError:
            done.append("refused")

    threads = [threading.Thread(target=act) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["refused"] * 3 + ["stepped"]


@pytest.mark.parametrize("steps", [(), (0.5, 0.2), (0.2, 0.2), (0.0, 0.5), (0.5, 1.0)])
def test_steps_must_grow(steps: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        CanaryRule(steps=steps)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=6, unique=True),
    st.sampled_from(["running", "passed", "rolled back", "promoted", "stopped"]),
)
def test_a_state_survives_being_kept(shares: list[float], status: str) -> None:
    rule = CanaryRule(steps=tuple(sorted(shares)))
    canary = {"id": 1, "version": 2, "rule": rule, "status": status}
    state = State.model_validate(
        {"beside": 1, "canary": {**canary, "steps": [{"share": min(shares), "since": 1.5, "revision": 1}]}}
    )
    assert State.model_validate_json(state.model_dump_json()) == state
    assert bool(state.split(1)) == (status in ("running", "passed"))
    assert state.split(7) == ()
    assert state.ended("stopped", "enough").split(1) == ()
