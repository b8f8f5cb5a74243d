"""kill -9 of `luban run`, then `luban run`: it finishes, keeps what was done, and releases the same model once."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from sqlalchemy import delete

from luban.release.registry import Registry
from luban.store.tables import decisions

from .conftest import Undisturbed
from .project import Answer, Tiny, check_whole, side_by_side, without_time

INSTANTS = 10
LONG_INSTANTS = 50
CHANGES = 6
LONG_CHANGES = 30


def goes_on(tiny: Tiny, killed: Answer, undisturbed: Undisturbed) -> None:
    """The next run finishes the work of the one that was killed."""
    results, trees = tiny.results(), tiny.trees()
    answer = tiny.done("run", "--json")
    version = answer.events[-1]["version"]
    assert version["identity"] == undisturbed.identity
    assert [(one.number, one.aliases) for one in Registry(tiny.ledger, tiny.store).versions("tiny")] == [
        (1, ("champion",))
    ]
    found = tiny.results()
    assert {key: found[key] for key in results} == results, "what was recorded was made again"
    new = {json.loads(value)["tree"] for key, (value, _) in found.items() if key not in results}
    assert tiny.trees() - trees <= new | {version["tree"]}, "something was made twice"
    for verb, kept in answer.kept().items():
        done = any(event.get("verb") == verb for event in killed.events) and list(killed.kept())[-1] != verb
        assert kept or not done or verb == "release", f"{verb} was made again"
    shown = answer.candidates()
    for name, row in killed.candidates().items():
        if shown:
            assert shown[name] == row, "a candidate was trained again: its seconds differ"
    for name, row in undisturbed.answer.candidates().items():
        if shown:
            assert without_time(shown[name]) == without_time(row)
    check_whole(tiny)
    statuses = {run.status for run in tiny.ledger.runs()}
    assert statuses <= {"done", "interrupted"}, statuses


def kill_and_go_on(folder: Path, undisturbed: Undisturbed, instants: list[float]) -> None:
    """Kill one run at each of the instants, given as shares of the undisturbed run's time."""

    def one(share: float) -> None:
        tiny = Tiny.made(folder / f"{share:.4f}")
        killed = tiny.killed_after(share * undisturbed.seconds, "run", "--json")
        assert killed.status in (-9, 0), killed.err
        goes_on(tiny, killed, undisturbed)

    side_by_side(one, instants)


def shares(count: int, seed: int) -> list[float]:
    """Random instants, one in each of `count` equal parts of the run."""
    chance = random.Random(seed)
    return [(number + chance.random()) / count for number in range(count)]


def test_killed_at_random(tmp_path: Path, undisturbed: Undisturbed) -> None:
    kill_and_go_on(tmp_path, undisturbed, shares(INSTANTS, seed=1))


@pytest.mark.long
def test_killed_at_random_more_often(tmp_path: Path, undisturbed: Undisturbed) -> None:
    kill_and_go_on(tmp_path, undisturbed, shares(LONG_INSTANTS, seed=2))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, int]:
    """A project that is trained and not evaluated yet, and how many changes `luban run` then makes."""
    tiny = Tiny.made(tmp_path_factory.mktemp("trained"))
    tiny.done("train")
    return tiny, changes(tiny.copy(tmp_path_factory.mktemp("counted") / "project"))


def changes(tiny: Tiny) -> int:
    answer = tiny.killed_at(0, "run")
    assert answer.status == 0, answer.err
    return int(answer.err.split("changes ")[-1])


def spread(count: int, among: int) -> list[int]:
    """`count` numbers from 1 to `among`, evenly spread, the last one included."""
    return sorted({1 + round(number * (among - 1) / (count - 1)) for number in range(count)})


def test_killed_between_changes_of_a_release(
    trained: tuple[Tiny, int], tmp_path: Path, undisturbed: Undisturbed
) -> None:
    def one(number: int) -> None:
        tiny = trained[0].copy(tmp_path / str(number))
        killed = tiny.killed_at(number, "run", "--json")
        assert killed.status == -9
        goes_on(tiny, killed, undisturbed)

    side_by_side(one, spread(CHANGES, trained[1]))


@pytest.mark.long
def test_killed_between_changes_of_a_run(tmp_path: Path, undisturbed: Undisturbed) -> None:
    def one(number: int) -> None:
        tiny = Tiny.made(tmp_path / str(number))
        killed = tiny.killed_at(number, "run", "--json")
        assert killed.status == -9
        goes_on(tiny, killed, undisturbed)

    side_by_side(one, spread(LONG_CHANGES, changes(Tiny.made(tmp_path / "counted"))))


def test_killed_again_and_again(tmp_path: Path, undisturbed: Undisturbed) -> None:
    """Each run is killed a little later than the one before; what each of them finished stays."""
    tiny = Tiny.made(tmp_path / "project")
    number, killed = 40, Answer(-9, "", "")
    while killed.status:
        before = tiny.results()
        killed = tiny.killed_at(number, "run", "--json")
        assert before.items() <= tiny.results().items()
        number += 30
    assert killed.events[-1]["version"]["identity"] == undisturbed.identity
    check_whole(tiny)


def test_decisions_of_another_run(tmp_path: Path) -> None:
    """What the clock decided there is what is done here."""
    hurried = Tiny.made(tmp_path / "hurried")
    released = hurried.done("run", "--set", "train.time_budget_s=0.000001", "--json").events[-1]["version"]
    hurried.done("bundle", "export", "out")
    file = hurried.folder / "out" / "reports" / "decisions.json"
    body = json.loads(file.read_bytes())["train"]
    assert "spent" in body["start:linear-2"]
    calm = Tiny.made(tmp_path / "calm")
    answer = calm.done("run", "--decisions", str(file), "--json")
    assert answer.candidates()["linear-2"]["status"] == "skipped"
    assert answer.events[-1]["version"]["identity"] == released["identity"]


def test_resuming_brings_no_second_budget(tmp_path: Path) -> None:
    """As if killed between the first model and the decision on the second: the time that the first took is spent."""
    tiny = Tiny.made(tmp_path / "project")
    hurried = ("train", "--set", "train.time_budget_s=0.02", "--json")
    tiny.done(*hurried)
    (key,) = [key for key in tiny.results() if "/" not in key and tiny.ledger.decisions(key)]
    assert tiny.ledger.decisions(key)["start:linear-2"] == "time_budget_s (0.02) spent"
    tiny.ledger.forget(key)
    with tiny.ledger.transaction() as tx:
        tx.execute(delete(decisions).where(decisions.c.key == "start:linear-2"))
    assert tiny.done(*hurried).candidates()["linear-2"]["status"] == "skipped"
