"""kill -9 between folds, then `luban run`: what was fitted is kept, and the model is the same."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from .project import Tiny, check_whole, side_by_side, without_time

TRAIN: dict[str, Any] = {
    "models": ["linear", {"kind": "linear", "c": 1.0}, {"kind": "trees", "max_rounds": 30}, "vote", "stack"],
    "folds": {"num": 4, "final": "bag"},
    "learning_curve": True,
    "seeds": 2,
    "time_budget_s": 600,
    "num_threads": 1,
}


@pytest.mark.long
def test_killed_between_folds(tmp_path: Path) -> None:
    whole = Tiny.made(tmp_path / "whole", train=TRAIN)
    began = time.monotonic()
    undisturbed = whole.done("run", "--json", cold=True)
    seconds = time.monotonic() - began
    identity = undisturbed.events[-1]["version"]["identity"]
    chance = random.Random(4)

    def one(number: int) -> None:
        tiny = Tiny.made(tmp_path / str(number), train=TRAIN)
        killed = tiny.killed_after(seconds * (0.1 + 0.6 * (number + chance.random()) / 8), "run", "--json")
        assert killed.status in (-9, 0), killed.err
        before = tiny.results()
        answer = tiny.done("run", "--json")
        assert answer.events[-1]["version"]["identity"] == identity
        found = tiny.results()
        assert {key: found[key] for key in before} == before, "what was recorded was made again"
        for name, row in answer.candidates().items():
            assert without_time(row) == without_time(undisturbed.candidates()[name])
        check_whole(tiny)

    side_by_side(one, range(8))
