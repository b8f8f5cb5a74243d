"""`luban deployments`: what it changes, what it says, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.errors import ConfigError, ReleaseError
from serve.deploying import ADA, House


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("LUBAN_ACTOR", "ada")
    made = House(tmp_path)
    for _ in range(3):
        made.release()
    return made


def run(house: House, *words: str) -> str:
    done = CliRunner().invoke(app, ["deployments", *words, "--project", str(house.folder)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def told(house: House, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(house, *words, "--json"))
    return found


def test_weights_by_number_or_alias(house: House) -> None:
    assert run(house, "weights", "2=0.2", "challenger=0.1") == (
        "reviews: champion is version 1; beside it version 2 0.2, version 3 0.1.\n"
    )
    assert told(house, "weights")["shares"] == {}
    assert "nobody" in run(house, "stop")


def test_shadow_and_show(house: House) -> None:
    assert told(house, "shadow", "2", "3")["shadows"] == [2, 3]
    shown = run(house, "show")
    assert "champion" in shown
    assert "shadow" in shown
    assert told(house, "show")["arms"][0]["share"] == 1.0


def test_a_canary_with_its_rule(house: House) -> None:
    words = ("--steps", "0.1,0.4", "--step-s", "60", "--quality", "required", "--max-error-rate", "0.1", "--promote")
    assert told(house, "canary", "challenger", *words)["shares"] == {"3": 0.1}
    rule = told(house, "show")["canary"]["rule"]
    assert (rule["steps"], rule["quality"], rule["promote"], rule["max_error_rate"]) == (
        [0.1, 0.4],
        "required",
        True,
        0.1,
    )
    assert "canary of version 3: running. Waits for" in run(house, "show")
    assert "beside it nobody" in run(house, "rollback", "--reason", "guests complain")
    assert "rolled back. guests complain" in run(house, "show")


def test_a_test_with_its_rule(house: House) -> None:
    words = ("--share", "0.3", "--metric", "minutes", "--smaller-is-better", "--min-units", "20")
    assert told(house, "test", "2", *words)["shares"] == {"2": 0.3}
    assert told(house, "show")["test"]["rule"]["metric"] == "minutes"
    assert "test of version 2: running. minutes: nothing against the champion's nothing" in run(house, "show")


def test_a_champion_that_answers_alone_is_not_counted(house: House) -> None:
    assert [told(house, "show")["arms"][0][name] for name in ("requests", "failed", "p50_ms")] == [None] * 3
    run(house, "weights", "2=0.2")
    assert [arm["requests"] for arm in told(house, "show")["arms"]] == [0, 0]


def test_what_ran_last_is_shown(house: House) -> None:
    run(house, "canary", "2")
    run(house, "rollback", "--reason", "guests complain")
    run(house, "test", "3")
    shown = run(house, "show")
    assert "test of version 3: running" in shown
    assert "guests complain" not in shown, "that stands in the history"


def test_promote_and_history(house: House) -> None:
    assert told(house, "promote", "2", "--reason", "it is better")["champion"] == 2
    assert told(house, "rollback")["champion"] == 1
    rows = told(house, "history")["history"]
    assert [(row["actor"], row["verb"]) for row in rows[:2]] == [("ada", "rollback"), ("ada", "rollback")]
    text = run(house, "history")
    assert "champion 1 → 2. it is better" in text


def test_a_void_split_is_shown_as_such(house: House) -> None:
    run(house, "canary", "2")
    house.registry.promote("reviews", 3, ADA)
    assert told(house, "show")["canary"]["status"] == "void"


def test_watch_leads_to_the_end(house: House) -> None:
    """Nobody asks, so a step never has its requests; another champion ends it at once."""
    run(house, "canary", "2", "--step-s", "0")
    house.registry.promote("reviews", 3, ADA)
    assert "champion is version 3; beside it nobody" in run(house, "watch", "--every-s", "0.05")
    assert told(house, "show")["canary"]["status"] == "stopped"
    assert house.trail("stop")[0] == ("canary", "Version 3 became champion by another command.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("weights", "2"), "VERSION=SHARE"),
        (("weights", "2=much"), "VERSION=SHARE"),
        (("weights", "2=1.5"), "above 0 and below 1"),
        (("weights", "9=0.5"), "no version or alias `9`"),
        (("canary", "2", "--steps", "0.5,0.1"), "--steps: .*must grow"),
        (("canary", "2", "--steps", "few"), "--steps"),
        (("canary", "1"), "is the champion"),
        (("test", "2", "--share", "1"), "--share"),
        (("rollback",), "no champion before"),
    ],
)
def test_what_cannot_be(house: House, words: tuple[str, ...], says: str) -> None:
    with pytest.raises((ConfigError, ReleaseError), match=says):
        run(house, *words)
    assert house.now.revision == 0
