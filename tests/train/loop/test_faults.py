"""A loss that is not finite, memory that is too short: said aloud, and nothing that was learnt is lost."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luban.errors import DataError
from luban.models.neural.learner import Perturb
from luban.models.neural.recipe import Recipe
from luban.train.loop import loop, training

from .tiny import Ledger, Place, Tiny, bits, context

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.02,
    "epochs": 6,
    "patience": 100,
    "evaluations_per_epoch": 3,
    "precision": "fp32",
}


class Breaks(Tiny):
    """Its losses, gradients or validation become something else at a step (counted from 1)."""

    def __init__(self, at: int, loss: float = 1.0, gradient: float = 1.0, valid: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        self.at, self.loss, self.gradient, self.valid = at, loss, gradient, valid
        self.kept: list[dict[str, np.ndarray]] = []

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
        self.kept.append(self.weights())
        found = super().losses(rows, recipe, perturb)
        if len(self.kept) < self.at:
            return found
        if self.gradient != 1.0:
            found.register_hook(lambda gradient: gradient * self.gradient)
        return found * 1.0 if self.loss == 1.0 else found * 0.0 + self.loss

    def validate(self) -> float:
        return super().validate() * (self.valid if len(self.kept) >= self.at else 1.0)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"loss": math.nan}, "at step 8 the loss was nan"),
        ({"loss": math.inf}, "at step 8 the loss was inf"),
        ({"gradient": math.inf}, "at step 8 the gradients' norm was nan|at step 8 the gradients' norm was inf"),
    ],
)
@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_training_ends_with_the_best_weights_before_it(
    broken: dict[str, float], says: str, clip_norm: float | None
) -> None:
    learner, sound = Breaks(8, **broken), Tiny()
    trained = loop(learner, Recipe(**SETTINGS, clip_norm=clip_norm), context())
    expected = loop(sound, Recipe(**SETTINGS, clip_norm=clip_norm), context())
    assert trained.steps == 7
    assert any(part in trained.notes[0] for part in says.split("|")), trained.notes
    assert "Try a smaller `learning_rate`" in trained.notes[0]
    assert bits(trained.history) == bits(expected.history)[:7]
    assert trained.best_loss == min(row["valid"] for row in expected.history[:7])
    learner.at = 10**6
    assert learner.validate() == trained.best_loss


def test_before_any_evaluation_the_last_good_weights_are_kept() -> None:
    learner = Breaks(3, loss=math.nan)
    trained = loop(learner, Recipe(**{**SETTINGS, "evaluations_per_epoch": 1}), context())
    assert trained.steps == trained.best_step == 2
    assert all((learner.weights()[name] == weights).all() for name, weights in learner.kept[2].items())
    assert math.isfinite(trained.best_loss)


def test_a_refit_keeps_the_last_good_weights() -> None:
    learner = Breaks(5, loss=math.nan, valid=1.0)
    trained = loop(learner, Recipe(**SETTINGS), context(valid=0))
    assert trained.steps == 4
    assert all((learner.weights()[name] == weights).all() for name, weights in learner.kept[4].items())
    assert "at step 5" in trained.notes[0]


def test_a_validation_loss_that_is_not_finite_ends_training() -> None:
    learner = Breaks(6, valid=math.nan)
    trained = loop(learner, Recipe(**SETTINGS), context())
    assert trained.steps == 6
    assert trained.best_step <= 5
    assert "after step 6 the validation loss was nan" in trained.notes[0]
    assert all("valid" in row for row in trained.history[:-1])
    with pytest.raises(DataError, match="No validation loss was finite in 1 steps"):
        loop(Breaks(1, valid=math.nan), Recipe(**SETTINGS), context())


def test_the_end_is_a_decision_and_is_replayed() -> None:
    ledger = Ledger()
    first, second = Breaks(8, loss=math.nan), Breaks(8, loss=math.nan)
    histories = [bits(loop(learner, Recipe(**SETTINGS), context(decide=ledger)).history) for learner in (first, second)]
    assert histories[0] == histories[1]
    assert ledger.kept["steps"]["steps"] == 7


MESSAGES = {
    "processor": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "accelerator": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "numpy": MemoryError("Unable to allocate 3.64 TiB for an array"),
}


class Greedy(Tiny):
    """Runs out of memory above so many rows at once, from a batch on."""

    def __init__(self, most: int, error: BaseException, start: int = 0, **settings: Any) -> None:
        super().__init__(dropout=0.0, **settings)
        self.most, self.error, self.start, self.count = most, error, start, 0

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
        self.count += 1
        if len(rows) > self.most and self.count > self.start:
            raise self.error
        return super().losses(rows, recipe, perturb)


@pytest.mark.parametrize("error", MESSAGES.values(), ids=list(MESSAGES))
def test_batches_are_cut_and_it_is_said(error: BaseException) -> None:
    greedy, plain = Greedy(10, error), Greedy(99, error)
    trained = loop(greedy, Recipe(**SETTINGS), context())
    expected = loop(plain, Recipe(**SETTINGS), context())
    assert max(map(len, greedy.asked)) <= 10
    assert len(trained.notes) == 2
    assert "memory was short at step 1: batches of 32 rows are worked through in 4 pieces" in trained.notes[1]
    for ours, theirs in zip(trained.history, expected.history, strict=True):
        assert ours["valid"] == pytest.approx(theirs["valid"], rel=1e-4), "the gradients are the same sums"


def test_cut_batches_stay_cut_and_are_replayed_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    error = MESSAGES["processor"]
    ledger, place = Ledger(), Place()
    recipe = Recipe(**{**SETTINGS, "evaluations_per_epoch": 1}, noise=0.1)
    first = Greedy(20, error, start=5)
    trained = loop(first, recipe, context(decide=ledger))
    assert ledger.kept["steps"]["pieces"] == [[5, 2]]
    assert sum(len(rows) > 20 for rows in first.asked) == 5
    replayed = loop(Greedy(99, error), recipe, context(decide=ledger))
    assert bits(replayed.history) == bits(trained.history)
    place.limit = 2  # after an epoch, then when batches are cut; and dies
    monkeypatch.setattr(training, "WRITING_SHARE", math.inf)
    with pytest.raises(KeyboardInterrupt):
        loop(Greedy(20, error, start=5), recipe, context(unfinished=place))
    place.limit = None
    resumed = loop(Greedy(99, error), recipe, context(unfinished=place))
    assert bits(resumed.history) == bits(trained.history)


def test_a_refit_starts_with_cut_batches() -> None:
    ledger = Ledger()
    error = MESSAGES["processor"]
    loop(Greedy(20, error, start=5), Recipe(**SETTINGS), context(decide=ledger))
    again = Greedy(20, error, rows=120, valid=0)
    assert loop(again, Recipe(**SETTINGS), context(valid=0, decide=ledger)).notes == ()


def test_one_row_that_does_not_fit_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"too short to train on a single row \(step 1\)") as caught:
        loop(Greedy(0, MESSAGES["processor"]), Recipe(**SETTINGS), context())
    assert "more memory" in caught.value.hint


def test_other_errors_are_not_taken_for_short_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        loop(Greedy(0, RuntimeError("shapes cannot be multiplied")), Recipe(**SETTINGS), context())


def test_memory_that_really_is_short() -> None:
    """In a process whose address space ends a little above what it has: half a batch fits, a whole one does not."""
    command = [sys.executable, "-m", "train.loop.hungry"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == 6
    assert any("memory was short at step 1: batches of 32 rows" in note for note in found["notes"])
    assert found["most"] < 32


def test_a_disk_that_refuses_a_checkpoint_is_heard_of(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from luban.errors import StoreError
    from luban.store.blobs import Store

    monkeypatch.setattr(training, "WRITING_SHARE", math.inf)
    store = Store(small_disk / "store")
    (small_disk / "filler").write_bytes(bytes(900_000))
    wide = Tiny()
    wide.module.hidden = torch.nn.Linear(8, 8000)
    wide.module.head = torch.nn.Linear(8000, 1)
    with pytest.raises(StoreError, match=r"checkpoint could not be written .*: the disk is full"):
        loop(wide, Recipe(epochs=3, checkpoint_every_s=1e-9), context(unfinished=store.unfinished("key")))
