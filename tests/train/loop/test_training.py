"""The loop does what the recipe says, stops where it should, and keeps the best weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from luban.errors import ConfigError, DataError
from luban.models.neural.learner import Perturb, Trained
from luban.models.neural.recipe import Recipe
from luban.train.loop import loop

from .tiny import HEAD, Ledger, Tiny, bits, context


def run(
    learner: Tiny, valid: int = 30, seconds: float = math.inf, ledger: Ledger | None = None, **recipe: Any
) -> Trained:
    """Train with these settings; a step size that suits the tiny net unless another is given."""
    settings = {"learning_rate": 0.02, "epochs": 6, "patience": 100, **recipe}
    decide = Ledger() if ledger is None else ledger
    return loop(learner, Recipe(**settings), context(valid, seconds_left=seconds, decide=decide))


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all((a[name] == b[name]).all() for name in a)


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    return {name for name in before if (before[name] != after[name]).any()}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.3, "l2": 0.001, "epochs": 40},
        {"schedule": "linear"},
        {"schedule": "plateau"},
        {"schedule": "constant", "clip_norm": None},
        {"average": "ema"},
        {"average": "swa"},
        {"accumulate": 2, "batch_rows": 8},
        {"noise": 0.1},
        {"adversarial": 0.3},
        {"unfreeze_every": 0.5, "layer_decay": 0.9},
        {"precision": "bf16"},
        {"bucket": False, "label_smoothing": 0.1},
    ],
    ids=str,
)
def test_learns_with_every_setting(settings: dict[str, Any]) -> None:
    learner = Tiny()
    learner.module.eval()
    before = learner.validate()
    trained = run(learner, **{"epochs": 20, **settings})
    assert trained.best_loss < before - 0.05
    assert learner.validate() == pytest.approx(trained.best_loss, abs=1e-6)
    assert trained.best_loss == min(row["valid"] for row in trained.history)
    assert trained.notes == ()


def test_the_same_twice_and_another_seed_otherwise() -> None:
    first, second, third = Tiny(), Tiny(), Tiny()
    histories = [bits(run(learner).history) for learner in (first, second)]
    assert histories[0] == histories[1]
    assert same(first.weights(), second.weights())
    recipe = Recipe(learning_rate=0.02, epochs=6)
    assert bits(loop(third, recipe, context(seed=4)).history) != histories[0]


def test_leaves_global_state_as_it_was() -> None:
    learner = Tiny()
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(5)
    np.random.seed(5)
    run(learner, noise=0.1)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == strict


def test_stops_early_and_has_the_best_weights() -> None:
    learner = Tiny(rows=40, dropout=0.0)
    trained = run(learner, epochs=200, schedule="constant", learning_rate=0.05, patience=4)
    assert trained.steps < 200 * 2
    after = [row["valid"] for row in trained.history if row["step"] > trained.best_step]
    assert len(after) == 4
    assert min(after) >= trained.best_loss
    assert learner.validate() == trained.best_loss


def test_evaluations_are_as_many_as_asked() -> None:
    trained = run(Tiny(rows=80), batch_rows=8, epochs=2, evaluations_per_epoch=5)
    assert [row["step"] for row in trained.history] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert [row["epoch"] for row in trained.history][4::5] == [1.0, 2.0]


def test_max_steps_bounds_the_schedule_too() -> None:
    trained = run(Tiny(), epochs=50, max_steps=7)
    assert trained.steps == 7
    assert trained.history[-1]["learning_rate"] < 0.02 * 0.1


def test_accumulated_batches_are_one_large_batch() -> None:
    learners = Tiny(rows=64, dropout=0.0), Tiny(rows=64, dropout=0.0)
    run(learners[0], batch_rows=64, epochs=3, bucket=False)
    run(learners[1], batch_rows=16, accumulate=4, epochs=3, bucket=False)
    for name, weights in learners[0].weights().items():
        assert np.allclose(weights, learners[1].weights()[name], atol=2e-4)


def test_gradients_are_clipped() -> None:
    learner = Tiny(dropout=0.0)
    before = learner.weights()
    run(
        learner,
        optimizer="sgd",
        learning_rate=1.0,
        schedule="constant",
        warmup=0,
        l2=0,
        clip_norm=0.01,
        max_steps=1,
        valid=0,
    )
    step = math.sqrt(sum(float(((w - before[name]) ** 2).sum()) for name, w in learner.weights().items()))
    assert step == pytest.approx(0.01 * 1.9, rel=1e-3), "Nesterov's first step is (1 + momentum) times the gradient"


def test_penalties_spare_biases_and_norms() -> None:
    plain, l1, l2 = Tiny(), Tiny(), Tiny()
    run(plain, l2=0, valid=0)
    run(l1, l2=0, l1=0.5, valid=0)
    run(l2, l2=2.0, valid=0)
    for name in ("hidden.weight", "table.weight"):
        assert np.abs(l2.weights()[name]).sum() < np.abs(plain.weights()[name]).sum()
    assert (l1.weights()["hidden.weight"] == 0).mean() > 0.2 > (plain.weights()["hidden.weight"] == 0).mean()
    assert (l1.weights()["norm.weight"] != 0).all()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_decay_is_decoupled(optimizer: str) -> None:
    class Still(Tiny):
        def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
            return 0.0 * super().losses(rows, recipe, perturb)

    learner = Still()
    before = learner.weights()
    run(learner, optimizer=optimizer, learning_rate=0.1, schedule="constant", warmup=0, l2=0.5, max_steps=2, valid=0)
    for name, weights in learner.weights().items():
        share = 0.95**2 if before[name].ndim > 1 else 1.0
        assert np.allclose(weights, before[name] * share, atol=1e-7), name


def test_frozen_layers_never_learn_and_others_thaw_in_turn() -> None:
    learner = Tiny()
    before = learner.weights()
    run(learner, frozen_layers=1, valid=0)
    assert learner.frozen == 1
    assert moved(before, learner.weights()) == set(before) - {"table.weight"}
    seen: list[set[str]] = []

    class Watching(Tiny):
        def validate(self) -> float:
            seen.append(moved(first, self.weights()))
            return super().validate()

    watching = Watching()
    first = watching.weights()
    run(watching, unfreeze_every=1.0, epochs=3, layer_decay=0.5, warmup=0)
    layers = watching.layers()
    assert seen == [set(HEAD), set(HEAD) | set(layers[1]), set(before)]


def test_layers_near_the_input_make_smaller_steps() -> None:
    learner = Tiny(dropout=0.0)
    before = learner.weights()
    run(learner, layer_decay=0.1, max_steps=1, warmup=0, l2=0, schedule="constant", valid=0)
    steps = [
        np.abs(learner.weights()[name] - before[name]).max()
        for name in ("head.weight", "hidden.weight", "table.weight")
    ]
    assert steps == pytest.approx([0.02, 0.002, 0.0002], rel=1e-2), "Adam's first step is the step size"


def test_too_many_frozen_layers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`frozen_layers` must be less than the model's 3 layers, but got 3"):
        run(Tiny(), frozen_layers=3)


class Recording(Tiny):
    """Remembers its weights after each evaluation, as they are validated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.validated: list[np.ndarray] = []

    def validate(self) -> float:
        self.validated.append(self.weights()["head.weight"])
        return super().validate()


def test_averages() -> None:
    settings = {"batch_rows": 90, "epochs": 8, "schedule": "constant"}
    plain, swa, ema = Recording(), Recording(), Recording()
    run(plain, **settings)
    run(swa, average="swa", **settings)
    run(ema, average="ema", ema_decay=0.5, **settings)
    steps = np.array(plain.validated)
    assert (np.array(swa.validated)[:4] == steps[:4]).all(), "the first half is not averaged"
    for step in range(4, 8):
        assert np.allclose(swa.validated[step], steps[4 : step + 1].mean(axis=0), atol=1e-6)
    mean = steps[0]
    for count, (step, found) in enumerate(zip(steps, ema.validated, strict=True), start=1):
        decay = min(0.5, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * step if count > 1 else step
        assert np.allclose(found, mean, atol=1e-6)


def test_noise_and_adversarial_steps_go_where_the_module_says() -> None:
    class Asked(Tiny):
        pushes: list[np.ndarray]

        def outputs(self, rows: Sequence[int] | np.ndarray, perturb: Perturb | None = None) -> torch.Tensor:
            if perturb is None:
                return super().outputs(rows, perturb)

            def watched(name: str, values: torch.Tensor) -> torch.Tensor:
                moved = perturb(name, values)
                self.pushes.append((moved - values).detach().flatten(1).norm(dim=1).numpy())
                return moved

            return super().outputs(rows, watched)

    learner = Asked()
    learner.pushes = []
    run(learner, adversarial=0.7, max_steps=2)
    clean, pushed = learner.pushes[0::2], learner.pushes[1::2]
    assert all((push == 0).all() for push in clean)
    assert all(np.allclose(push, 0.7, atol=1e-3) for push in pushed)
    noisy = Asked()
    noisy.pushes = []
    run(noisy, noise=0.1, max_steps=1)
    assert noisy.pushes[0].min() > 0.1


def test_time_is_up() -> None:
    class Slow(Tiny):
        def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
            import time

            time.sleep(0.01)
            return super().losses(rows, recipe, perturb)

    ledger = Ledger()
    first, again = Slow(), Slow()
    trained = run(first, epochs=1000, seconds=0.5, ledger=ledger)
    assert 1 <= trained.steps <= 50
    assert ledger.kept["pace"] <= 45
    assert ledger.kept["steps"]["steps"] == trained.steps
    replayed = run(again, epochs=1000, seconds=0.0, ledger=ledger)
    assert bits(replayed.history) == bits(trained.history)
    assert same(first.weights(), again.weights())


def test_one_step_is_made_however_little_time_there_is() -> None:
    assert run(Tiny(), seconds=0.0).steps == 1


def test_a_refit_goes_as_many_epochs_on_more_rows() -> None:
    ledger = Ledger()
    trained = run(Tiny(rows=64), batch_rows=8, epochs=10, ledger=ledger, patience=2, learning_rate=0.1)
    learner = Tiny(rows=96, valid=0)
    again = run(learner, valid=0, batch_rows=8, epochs=10, ledger=ledger, patience=2, learning_rate=0.1)
    assert again.steps == again.best_step == round(trained.best_step * 12 / 8)
    assert math.isnan(again.best_loss)
    rates = [(row["epoch"], row["learning_rate"]) for row in trained.history if row["step"] <= trained.best_step]
    assert [row["epoch"] for row in again.history] == [epoch for epoch, _ in rates]
    for row, (_, rate) in zip(again.history, rates, strict=True):
        assert row["learning_rate"] == pytest.approx(rate, rel=0.1)
    assert "valid" not in again.history[0]


def test_a_refit_halves_where_the_first_fit_did() -> None:
    ledger = Ledger()
    settings = {
        "schedule": "plateau",
        "epochs": 15,
        "learning_rate": 0.2,
        "warmup": 0,
        "ledger": ledger,
        "batch_rows": 8,
    }
    trained = run(Tiny(rows=64), **settings)
    halved = ledger.kept["steps"]["halved"]
    assert halved
    assert trained.history[-1]["learning_rate"] == 0.2 * 0.5 ** sum(step < trained.steps for step in halved)
    ledger.kept["steps"]["best_step"] = trained.steps
    again = run(Tiny(rows=128, valid=0), valid=0, **settings)
    assert again.steps == 2 * trained.steps
    assert again.history[-1]["learning_rate"] == trained.history[-1]["learning_rate"]


def test_without_validation_rows_all_epochs_are_made() -> None:
    trained = run(Tiny(valid=0), valid=0, average="swa")
    assert trained.steps == trained.best_step == 18


def test_threads_are_a_decision() -> None:
    class Wide(Tiny):
        def __init__(self) -> None:
            super().__init__(rows=64)
            torch.manual_seed(0)
            self.module.hidden = nn.Linear(8, 30_000)
            self.module.head = nn.Linear(30_000, 1)

    recipe = Recipe(max_steps=3, learning_rate=0.01, batch_rows=64)
    ledger = Ledger()
    learners = Wide(), Wide()
    first = loop(learners[0], recipe, context(decide=ledger, num_threads=2))
    second = loop(learners[1], recipe, context(decide=ledger, num_threads=1))
    assert ledger.kept["machine"]["threads"] == 2
    assert bits(first.history) == bits(second.history)
    assert same(learners[0].weights(), learners[1].weights())


def test_progress_is_told() -> None:
    told: list[tuple[str, float]] = []
    from luban.train.loop import training

    patch = pytest.MonkeyPatch()
    patch.setattr(training, "PROGRESS_S", 0.0)
    try:
        loop(Tiny(), Recipe(epochs=2), context(progress=lambda what, share: told.append((what, share))))
    finally:
        patch.undo()
    assert [share for _, share in told] == [i / 6 for i in range(1, 7)]
    assert "step 6 of 6, loss 0." in told[-1][0]


def test_a_parameter_without_a_layer_is_a_mistake_of_the_learner() -> None:
    class Forgetful(Tiny):
        def layers(self) -> Sequence[Sequence[str]]:
            return super().layers()[1:]

    with pytest.raises(AssertionError, match="every parameter once"):
        run(Forgetful())


def test_nothing_finite_at_the_first_step() -> None:
    learner = Tiny()
    with torch.no_grad():
        learner.module.head.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="At the first step the loss was nan") as caught:
        run(learner)
    assert "learning_rate" in caught.value.hint
