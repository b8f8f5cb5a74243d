"""Ctrl-C at random instants: one line, exit status 130, and the next run goes on."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from .conftest import Undisturbed
from .project import Tiny, check_whole, finish

CHANGES = (3, 20, 60, 110, 160, 210)


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_at_random(seed: int, tmp_path: Path, undisturbed: Undisturbed) -> None:
    tiny = Tiny.made(tmp_path / "project")
    process = tiny.start("run", "--json")
    assert process.stdout is not None
    line = process.stdout.readline()  # from here on it works; before, Python itself is still starting
    assert '"prepare"' in line
    time.sleep((seed + random.Random(seed).random()) / 4 * undisturbed.seconds / 2)
    process.send_signal(signal.SIGINT)
    answer = finish(process)
    assert answer.status in (130, 0)
    if answer.status:
        assert_one_line(answer.err)
    assert tiny.done("run", "--json").events[-1]["version"]["identity"] == undisturbed.identity
    check_whole(tiny)


@pytest.mark.parametrize("number", CHANGES)
def test_interrupted_between_changes(number: int, tmp_path: Path, undisturbed: Undisturbed) -> None:
    tiny = Tiny.made(tmp_path / "project")
    answer = tiny.signalled_at("SIGINT", number, "run", "--json")
    assert answer.status == 130, answer.err
    assert_one_line(answer.err)
    assert {run.status for run in tiny.ledger.runs()} <= {"interrupted"}
    before = tiny.results()
    answer = tiny.done("run", "--json")
    assert answer.events[-1]["version"]["identity"] == undisturbed.identity
    assert before.items() <= tiny.results().items()
    check_whole(tiny)


def assert_one_line(said: str) -> None:
    assert said.strip() == "Stopped. What was finished is kept: the same command goes on from there."
