"""The registry: versions, aliases, forced releases, rollback, and what the audit trail says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.errors import Denied, ReleaseError, StoreError
from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release, Version
from luban.store.blobs import Store
from luban.store.ledger import Ledger

ADA = Actor("ada")
GOOD = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
BAD = [
    *GOOD,
    Verdict("G005", "Is it within its budget?", "failed", "It takes 12 ms, allowed 10 ms.", "Raise `budget.p95_ms`."),
    Verdict("G006", "Is an owner named?", "failed", "There is no owner.", "Name an owner."),
]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Ledger(tmp_path / "ledger.db"), Store(tmp_path / "store"))


def tree_of(registry: Registry, tmp_path: Path, content: str) -> str:
    folder = tmp_path / f"made-{content}"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text(content)
    return registry._store.publish(folder)


def released(
    registry: Registry,
    tmp_path: Path,
    identity: str,
    verdicts: list[Verdict] = GOOD,
    forced_reason: str | None = None,
    promote: str | None = None,
) -> Version:
    tree = tree_of(registry, tmp_path, identity)
    release = Release("m", tree, identity, verdicts, {"accuracy": 0.8}, "run-1", audit_head="f" * 64)
    return registry.release(release, ADA, forced_reason, promote)


def verbs(registry: Registry) -> list[str]:
    return [row["verb"] for row in reversed(registry.history("m"))]


def test_the_first_is_champion_and_later_ones_challenge(registry: Registry, tmp_path: Path) -> None:
    first = released(registry, tmp_path, "a")
    assert (first.number, first.aliases, first.metrics, first.run_id) == (1, ("champion",), {"accuracy": 0.8}, "run-1")
    assert released(registry, tmp_path, "b").aliases == ("challenger",)
    assert released(registry, tmp_path, "c").aliases == ("challenger",)
    assert registry.resolve("m", "2").aliases == ()
    assert [version.number for version in registry.versions("m")] == [3, 2, 1]
    assert registry.models() == ["m"]
    assert registry.heads("m") == ["f" * 64] * 3
    registry._ledger.verify_audit()


def test_the_same_identity_is_released_once(registry: Registry, tmp_path: Path) -> None:
    first = released(registry, tmp_path, "a")
    assert released(registry, tmp_path, "a") == first
    assert released(registry, tmp_path, "a", forced_reason="without need") == first
    assert verbs(registry) == ["release", "promote"]


def test_failed_gates_are_all_named_with_what_to_do(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError) as caught:
        released(registry, tmp_path, "a", BAD)
    for words in ("2 of 3 gates", "G005", "12 ms", "Raise `budget.p95_ms`", "G006", "Name an owner", "--force"):
        assert words in str(caught.value)
    assert registry.models() == []
    assert verbs(registry) == []


def test_force_needs_a_reason_that_stands_on_the_trail(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(Denied, match="reason"):
        released(registry, tmp_path, "a", BAD, forced_reason="  ")
    version = released(registry, tmp_path, "a", BAD, forced_reason="trade fair tomorrow")
    assert version.forced_reason == "trade fair tomorrow"
    assert registry.history("m")[-1]["detail"]["forced"] == "trade fair tomorrow"
    assert registry.history("m")[-1]["detail"]["gates"]["G005"] == "failed"


def test_what_was_overruled_need_not_be_overruled_again_but_new_failures_must(
    registry: Registry, tmp_path: Path
) -> None:
    first = released(registry, tmp_path, "a", BAD, forced_reason="trade fair")
    assert released(registry, tmp_path, "a", BAD) == first
    worse = [*BAD, Verdict("G002", "Unseen?", "failed", "3 rows are shared.", "Split again.")]
    with pytest.raises(ReleaseError, match="G002"):
        released(registry, tmp_path, "a", worse)
    assert released(registry, tmp_path, "a", worse, forced_reason="still the fair") == first
    assert verbs(registry) == ["release", "promote", "overrule"]
    assert registry.history("m")[0]["detail"]["forced"] == "still the fair"


def test_force_without_a_failed_gate_is_not_called_forced(registry: Registry, tmp_path: Path) -> None:
    assert released(registry, tmp_path, "a", GOOD, forced_reason="just in case").forced_reason is None


def test_promote_and_roll_back_and_back_again(registry: Registry, tmp_path: Path) -> None:
    for identity in "abc":
        released(registry, tmp_path, identity)
    registry.promote("m", 3, ADA, reason="looks good")
    assert registry.resolve("m").number == 3
    assert registry.find("m", "challenger") is None, "the champion does not challenge itself"
    assert registry.rollback("m", ADA).number == 1
    assert registry.resolve("m", "champion").number == 1
    assert registry.rollback("m", ADA).number == 3
    assert verbs(registry) == ["release", "promote", "release", "release", "promote", "rollback", "rollback"]
    assert registry.history("m")[0]["detail"] == {"deployment": "default", "from": 1, "to": 3}
    registry._ledger.verify_audit()


def test_release_and_promotion_are_one_deed(registry: Registry, tmp_path: Path) -> None:
    released(registry, tmp_path, "a")
    assert released(registry, tmp_path, "b", promote="it is better").aliases == ("champion",)
    assert registry.history("m")[0]["detail"]["reason"] == "it is better"
    registry.rollback("m", ADA)
    assert "champion" not in released(registry, tmp_path, "b", promote="it is better").aliases, "released before"


def test_promoting_the_champion_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    released(registry, tmp_path, "a")
    registry.promote("m", 1, ADA)
    assert verbs(registry) == ["release", "promote"]


def test_deployments_have_their_own_champion(registry: Registry, tmp_path: Path) -> None:
    for identity in "ab":
        released(registry, tmp_path, identity)
    registry.promote("m", 2, ADA, deployment="canary")
    assert registry.resolve("m", "champion", "canary").number == 2
    assert registry.resolve("m", "champion").number == 1


def test_errors_say_what_there_is(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="Nothing is released yet"):
        registry.resolve("m")
    released(registry, tmp_path, "a")
    with pytest.raises(ReleaseError, match=r"(?s)no version or alias `7`.*Versions: 1\. Aliases: champion"):
        registry.resolve("m", "7")
    with pytest.raises(ReleaseError, match="Released: m"):
        registry.resolve("other")
    with pytest.raises(ReleaseError, match="no version 9"):
        registry.promote("m", 9, ADA)
    with pytest.raises(ReleaseError, match="no champion before version 1"):
        registry.rollback("m", ADA)
    with pytest.raises(StoreError, match="no tree"):
        registry.release(Release("m", "0" * 64, "x", GOOD), ADA)


def test_history_is_of_this_model_alone(registry: Registry, tmp_path: Path) -> None:
    released(registry, tmp_path, "a")
    for name in ("m2", "m_", "mm"):
        registry.release(Release(name, tree_of(registry, tmp_path, name), name, GOOD), ADA)
    assert {row["object"] for row in registry.history("m")} == {"model m version 1"}


MOVES = st.lists(st.one_of(st.just("release"), st.just("rollback"), st.integers(1, 4)), max_size=12)


@given(MOVES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_done_there_is_one_champion_and_a_whole_trail(
    tmp_path_factory: pytest.TempPathFactory, moves: list[str | int]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    registry = Registry(Ledger(folder / "ledger.db"), Store(folder / "store"))
    champion, before, count = None, None, 0
    for move in moves:
        try:
            if move == "release":
                count += 1
                released(registry, folder, str(count))
                champion = champion or 1
            elif move == "rollback":
                registry.rollback("m", ADA)
                champion, before = before, champion
            else:
                registry.promote("m", int(move), ADA)
                champion, before = (move, champion) if move != champion else (champion, before)
        except ReleaseError:
            assert count == 0 or before is None or (move != "rollback" and int(move) > count)
    found = registry.find("m")
    assert (found.number if found else None) == champion
    registry._ledger.verify_audit()
