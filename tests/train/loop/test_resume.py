"""Killed at any instant and run again, training goes on to the same bits as if nothing had happened."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.models.neural.recipe import Recipe
from luban.store.home import Home
from luban.train.loop import loop, training
from luban.train.loop.checkpoint import Facts

from .tiny import Ledger, Place, Tiny, bits, context
from .victim import SETTINGS

TESTS = Path(__file__).parents[2]
RICH = {name: value for name, value in SETTINGS.items() if name != "checkpoint_every_s"}


@pytest.fixture(autouse=True, scope="module")
def _write_at_every_evaluation() -> Iterator[None]:
    """However long a write takes: which checkpoints there are must not hang on this machine's speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "WRITING_SHARE", math.inf)
        yield


def call(folder: Path, kill_after: int | None = None) -> tuple[int, dict[str, Any] | None]:
    """Batches that a process worked through, and what it found; it is killed after so many, if so."""
    command = [sys.executable, "-m", "train.loop.victim", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        count = 0
        for line in process.stdout:
            if line != "batch\n":
                return count, json.loads(line)
            count += 1
            if count == kill_after:
                process.kill()
    assert kill_after is not None, "it failed"
    return count, None


def test_killed_by_the_system_at_random_batches(tmp_path: Path) -> None:
    whole, expected = call(tmp_path / "undisturbed")
    chance = random.Random()
    killed, worked = [], 0
    while True:
        kills = len(killed) < 2
        count, found = call(tmp_path / "killed", chance.randrange(20, whole // 3) if kills else None)
        worked += count
        if found is not None:
            break
        killed.append(count)
    assert found == expected, f"killed after {killed} batches"
    assert killed
    assert worked < whole + 60 * len(killed), "it went on from where it was, and did not begin anew"
    assert Home.open(tmp_path / "killed").unfinished("key").read() is None


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.fixed_dictionaries(
        {
            "optimizer": st.sampled_from(["adamw", "sgd"]),
            "average": st.sampled_from(["none", "ema", "swa"]),
            "schedule": st.sampled_from(["cosine", "linear", "plateau", "constant"]),
            "precision": st.sampled_from(["fp32", "bf16"]),
            "accumulate": st.integers(1, 3),
            "noise": st.sampled_from([0.0, 0.1]),
            "adversarial": st.sampled_from([0.0, 0.1]),
            "unfreeze_every": st.sampled_from([None, 0.7]),
            "frozen_layers": st.integers(0, 1),
            "patience": st.sampled_from([2, 50]),
            "l1": st.sampled_from([0.0, 0.01]),
        }
    ),
)
def test_interrupted_at_checkpoints_with_any_recipe(limits: list[int], chosen: dict[str, Any]) -> None:
    recipe = Recipe(**{**RICH, **chosen, "epochs": 4, "checkpoint_every_s": 1e-9})
    expected = Tiny()
    undisturbed = loop(expected, recipe, context())
    place, ledger = Place(), Ledger()
    for limit in limits:
        place.limit, place.writes = limit, 0
        try:
            loop(Tiny(), recipe, context(unfinished=place, decide=ledger))
        except KeyboardInterrupt:
            continue
        break
    place.limit = None
    learner = Tiny()
    resumed = loop(learner, recipe, context(unfinished=place, decide=ledger))
    assert bits(resumed.history) == bits(undisturbed.history)
    assert resumed.best_step == undisturbed.best_step
    for name, weights in learner.weights().items():
        assert (weights == expected.weights()[name]).all(), name


def test_killed_after_the_decision_and_before_the_result() -> None:
    place, ledger = Place(), Ledger()
    recipe = Recipe(**{**RICH, "epochs": 3, "checkpoint_every_s": 1e-9})
    first, second = Tiny(), Tiny()
    trained = loop(first, recipe, context(unfinished=place, decide=ledger))
    again = loop(second, recipe, context(unfinished=place, decide=ledger))
    assert len(second.asked) < len(first.asked) / 2
    assert bits(again.history) == bits(trained.history)
    assert all((second.weights()[name] == weights).all() for name, weights in first.weights().items())


def test_time_before_the_kill_counts() -> None:
    place, ledger = Place(), Ledger()
    recipe = Recipe(epochs=400, learning_rate=1e-3, patience=10**6, checkpoint_every_s=1e-9)
    place.limit = 5
    with pytest.raises(KeyboardInterrupt):
        loop(Tiny(), recipe, context(unfinished=place, seconds_left=1000.0, decide=ledger))
    place.limit = None
    data = place.data
    assert data is not None
    place.data, count = re.subn(rb'"seconds": \d\.', b'"seconds": 9.', data)
    assert count == 1
    resumed = loop(Tiny(), recipe, context(unfinished=place, seconds_left=8.0, decide=ledger))
    assert resumed.notes == ()
    assert resumed.steps < 100, "there was no time left"


def test_what_is_of_other_settings_or_damaged_is_not_used() -> None:
    place = Place()
    recipe = Recipe(epochs=2, checkpoint_every_s=1e-9)
    loop(Tiny(), recipe, context(unfinished=place))
    expected = bits(loop(Tiny(), Recipe(epochs=3), context()).history)
    other = loop(Tiny(), Recipe(epochs=3, checkpoint_every_s=1e-9), context(unfinished=place))
    assert bits(other.history) == expected
    assert "of other rows or settings" in other.notes[0]
    place.data = b"not a checkpoint at all"
    assert "damaged" in loop(Tiny(), Recipe(epochs=3), context(unfinished=place)).notes[0]


def test_checkpoints_hold_no_pickle_and_only_what_learns() -> None:
    from safetensors.torch import load

    place = Place()
    loop(Tiny(), Recipe(epochs=2, frozen_layers=1, checkpoint_every_s=1e-9), context(unfinished=place))
    assert place.data is not None
    names = set(load(place.data))
    assert "weights/hidden.weight" in names
    assert "optimizer/hidden.weight/exp_avg" in names
    assert not {name for name in names if "table" in name}
    assert {"random/torch", "random/numpy", "facts"} <= names
    assert Facts().step == 0


def test_checkpoints_take_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "WRITING_SHARE", 0.05)

    class Costly(Place):
        def write(self, data: bytes) -> None:
            time.sleep(0.05)
            super().write(data)

    place = Costly()
    start = time.monotonic()
    loop(Tiny(), Recipe(epochs=60, patience=99, checkpoint_every_s=1e-9), context(unfinished=place))
    assert place.writes <= 1 + (time.monotonic() - start) / 0.05 / 15
