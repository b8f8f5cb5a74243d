"""Ctrl-C at random instants: one line, exit status 130, and the next run goes on."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from .conftest import Undisturbed
from .project import Answer, Tiny, check_whole, finish, side_by_side

CHANGES = (3, 20, 60, 110, 160, 210)
INSTANTS = 4
ENDED = (130, -signal.SIGINT)
"""A shell shows 130 for both: Python ends itself by the signal where the interrupt fell into nested code."""
SAID = "Stopped. What was finished is kept: the same command goes on from there."


def test_interrupted_at_random(tmp_path: Path, undisturbed: Undisturbed) -> None:
    def one(seed: int) -> None:
        tiny = Tiny.made(tmp_path / str(seed))
        process = tiny.start("run", "--json")
        assert process.stdout is not None
        line = process.stdout.readline()  # from here on it works; before, Python itself is still starting
        assert '"prepare"' in line
        time.sleep((seed + random.Random(seed).random()) / INSTANTS * undisturbed.seconds / 2)
        process.send_signal(signal.SIGINT)
        answer = finish(process)
        assert answer.status in (*ENDED, 0), answer.err
        goes_on(tiny, answer, undisturbed)

    side_by_side(one, range(INSTANTS))


def test_interrupted_between_changes(tmp_path: Path, undisturbed: Undisturbed) -> None:
    def one(number: int) -> None:
        tiny = Tiny.made(tmp_path / str(number))
        answer = tiny.signalled_at("SIGINT", number, "run", "--json")
        assert answer.status in ENDED, answer.err
        assert {run.status for run in tiny.ledger.runs()} <= {"interrupted"}
        goes_on(tiny, answer, undisturbed)

    side_by_side(one, CHANGES)


def goes_on(tiny: Tiny, answer: Answer, undisturbed: Undisturbed) -> None:
    """One line was said, and the next run finishes the work."""
    if answer.status:
        assert answer.err.strip() == SAID
    before = tiny.results()
    again = tiny.done("run", "--json")
    assert again.events[-1]["version"]["identity"] == undisturbed.identity
    assert before.items() <= tiny.results().items()
    check_whole(tiny)
