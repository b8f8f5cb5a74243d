"""The learning curve, the gap and other seeds: told by the chosen candidate's own kind, changing nothing."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luban.bundle.bundle import Bundle
from luban.data.dataset import Dataset
from luban.train.again import interval, nested, reading, resampled
from luban.train.encode import TrainData

from .bench import Memory, dataset, task_of

COLUMNS = "text: text, x: number, y: category"
TREES: dict[str, Any] = {"kind": "trees", "max_rounds": 40, "patience_rounds": 5}


def rows(count: int, seed: int = 1) -> list[list[object]]:
    """Each label has many words of its own, most of them rare: whoever reads more rows knows more of them."""
    chance = random.Random(seed)
    words_of = {name: [f"{chance.choice('qxzjkv')}{chance.randrange(10**4)}" for _ in range(300)] for name in "ab"}
    found: list[list[object]] = []
    for _ in range(count):
        name = chance.choice("ab")
        words = " ".join(chance.choices(words_of[name if chance.random() < 0.9 else "a"], k=3))
        found.append([f"{words} the {chance.randrange(10**6)}", f"{chance.gauss(0, 1):.3f}", name])
    return found


@pytest.fixture(scope="module")
def learnable(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("learnable"), "text,x,y", rows(600), COLUMNS)


@pytest.mark.parametrize(
    "settings",
    [
        {"models": [{"kind": "linear", "bags": [{"analyzer": "word", "ngram_max": 1}]}]},
        {"models": ["linear", {"kind": "linear", "c": 0.1}, "vote"]},
        {"models": ["linear"], "folds": {"num": 3}},
        {"models": ["linear", {"kind": "linear", "c": 0.1}, "stack"], "folds": {"num": 3, "final": "bag"}},
    ],
    ids=["one", "vote", "folds", "stack"],
)
def test_more_words_help(learnable: Dataset, tmp_path: Path, settings: dict[str, Any]) -> None:
    report = Memory(tmp_path / "kept").train(learnable, tmp_path / "out", learning_curve=True, **settings)
    points = report["learning_curve"]
    total = report["rows"]["train"] if "folds" not in settings else report["rows"]["train"] - report["folds"]["rows"][0]
    assert [point["rows"] for point in points][-1] == total
    assert [round(total / point["rows"]) for point in points] == [8, 4, 2, 1]
    losses = [point["loss"] for point in points]
    assert losses == sorted(losses, reverse=True)
    assert all(point["low"] <= point["loss"] <= point["high"] for point in points)
    assert report["more_rows"]["verdict"] == "helps"
    assert report["more_rows"]["gain"] == pytest.approx(losses[-2] - losses[-1])
    assert report["more_rows"]["low"] > 0
    fit = report["fit"]
    assert fit["train_loss"] < fit["valid_loss"]
    assert fit["valid_loss"] == pytest.approx(losses[-1])


def test_noise_is_not_helped(tmp_path: Path) -> None:
    chance = random.Random(2)
    made = [[f"row {n}", f"{chance.gauss(0, 1):.3f}", chance.choice("ab")] for n in range(500)]
    found = dataset(tmp_path, "text,x,y", made, COLUMNS.replace("text: text", "text: {role: meta}"))
    report = Memory(tmp_path / "kept").train(found, tmp_path / "out", learning_curve=True, models=["linear"])
    assert report["more_rows"]["verdict"] != "helps"
    assert report["fit"]["train_loss"] > 0.6


def test_nothing_of_it_changes_what_is_released(learnable: Dataset, tmp_path: Path) -> None:
    plain, studied = Memory(tmp_path / "a"), Memory(tmp_path / "b")
    without = plain.train(learnable, tmp_path / "plain", learning_curve=False, models=["linear", TREES, "vote"])
    studied.train(learnable, tmp_path / "studied", learning_curve=True, seeds=2, models=["linear", TREES, "vote"])
    identities = {Bundle.load(tmp_path / name / "bundle").identity for name in ("plain", "studied")}
    assert len(identities) == 1
    assert without["learning_curve"] is None
    assert without["more_rows"] is None
    assert without["stability"] is None
    assert without["fit"]["train_rows"] > 0


def test_auto_is_a_decision_of_the_budget(learnable: Dataset, tmp_path: Path) -> None:
    rich, poor = Memory(tmp_path / "a"), Memory(tmp_path / "b")
    report = rich.train(learnable, tmp_path / "rich", models=["linear"])
    assert rich.decisions["learning_curve"] is True
    assert len(report["learning_curve"]) == 4
    report = poor.train(learnable, tmp_path / "poor", models=["linear"], time_budget_s=1e-9)
    assert poor.decisions["learning_curve"] is False
    assert report["learning_curve"] is None


def test_killed_in_the_curve_it_goes_on(learnable: Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"models": ["linear"], "learning_curve": True, "seeds": 2}
    whole = Memory(tmp_path / "whole")
    expected = whole.train(learnable, tmp_path / "out", **settings)
    memory = Memory(tmp_path / "kept", killed_at=len(whole.made) - 2)
    with pytest.raises(KeyboardInterrupt):
        memory.train(learnable, tmp_path / "killed", **settings)
    first, memory.killed_at = list(memory.made), None
    report = memory.train(learnable, tmp_path / "again", **settings)
    assert memory.made[: len(first)] == first
    assert memory.made == whole.made
    for name in ("fit", "learning_curve", "more_rows", "stability"):
        assert report[name] == expected[name]


def test_seeds_change_trees_and_not_a_solver_that_converges(learnable: Dataset, tmp_path: Path) -> None:
    trees = Memory(tmp_path / "a").train(
        learnable, tmp_path / "trees", learning_curve=False, seeds=3, models=[TREES | {"row_share": 0.3}]
    )["stability"]
    assert trees["seeds"] == [0, 1, 2]
    assert len(set(trees["losses"])) == 3
    assert trees["spread"] == pytest.approx(np.std(trees["losses"], ddof=1))
    assert 0 < trees["changed"] <= trees["ever_changed"] <= 1
    linear = Memory(tmp_path / "b").train(
        learnable, tmp_path / "linear", learning_curve=False, seeds=2, models=["linear"]
    )["stability"]
    assert linear["changed"] == 0
    assert linear["spread"] < 1e-3


def test_numbers_have_a_difference_in_their_own_unit(tmp_path: Path) -> None:
    chance = random.Random(1)
    made = [[f"row {n}", n / 10, f"{1000 + n * 5 + chance.gauss(0, 20):.2f}"] for n in range(200)]
    columns = "text: {role: meta}, x: number, y: number"
    found = dataset(tmp_path, "text,x,y", made, columns)
    report = Memory(tmp_path / "kept").train(
        found, tmp_path / "out", seeds=2, learning_curve=True, models=[TREES | {"row_share": 0.5}]
    )
    assert report["stability"]["changed"] is None
    assert 0.1 < report["stability"]["difference"] < 200
    assert len(report["learning_curve"]) == 3, "an eighth is too few rows"


def test_shares_hold_each_other_and_all_classes(learnable: Dataset) -> None:
    data = TrainData(learnable, task_of(learnable), 0)
    parts = [nested(data, share) for share in (1 / 8, 1 / 4, 1 / 2, 1.0)]
    for small, large in itertools.pairwise(parts):
        assert set(small.tolist()) <= set(large.tolist())
    assert parts[-1].tolist() == list(range(len(data.y("train"))))
    assert len(parts[0]) == pytest.approx(len(parts[-1]) / 8, abs=2)
    assert set(data.y("train")[parts[0]].tolist()) == {0.0, 1.0}


def test_intervals_are_wider_where_rows_hang_together(tmp_path: Path) -> None:
    made = [[f"p{n // 10}", f"{n}", "ab"[(n // 10) % 2]] for n in range(600)]
    columns = "who: {type: category, role: group}, x: number, y: category"
    found = dataset(tmp_path, "who,x,y", made, columns, "by: random, valid: 0.4, test: 0.1")
    data = TrainData(found, task_of(found), 0)
    chance = np.random.default_rng(0)
    _, person = np.unique(data.values("who", "valid"), return_inverse=True)
    outputs = chance.normal(size=person.max() + 1)[person][:, None] * 3
    of_groups = np.subtract(*interval(resampled(data, [outputs])[:, 0])[::-1])
    alone = data.with_rows(data.rows)
    alone.__dict__["dataset"] = learnable_rows(found)
    of_rows = np.subtract(*interval(resampled(alone, [outputs])[:, 0])[::-1])
    assert of_groups > 1.5 * of_rows


def learnable_rows(found: Dataset) -> Any:
    """The same dataset, if nobody had said that rows hang together."""

    class Apart:
        schema = type("", (), {"of_role": staticmethod(lambda role: []), "target": found.schema.target})

        def values(self, column: str, part: str) -> list[Any]:
            values = found.values(column, part)
            return list(range(len(values))) if column == "_group" else values

    return Apart()


def test_readings() -> None:
    chance = np.random.default_rng(0)

    def told(before: float, after: float, noise: float) -> str:
        points = [{"rows": 100, "loss": before}, {"rows": 200, "loss": after}]
        losses = np.array([[before, after]]) + chance.normal(size=(400, 2)) * noise
        return str(reading(points, losses, baseline=0.7)["verdict"])

    assert told(0.5, 0.4, 0.01) == "helps"
    assert told(0.4, 0.4, 0.0005) == "hardly"
    assert told(0.42, 0.4, 0.1) == "unclear"
    assert told(0.0011, 0.001, 0.00001) == "hardly", "nothing is left to gain"
    assert reading([{"rows": 9, "loss": 1.0}], np.ones((9, 1)), 1.0)["verdict"] == "none"


def test_without_validation_rows_nothing_is_said(tmp_path: Path) -> None:
    found = dataset(tmp_path, "text,x,y", rows(60), COLUMNS, "valid: 0, test: 0.2")
    report = Memory(tmp_path / "kept").train(found, tmp_path / "out", models=["linear"], seeds=2)
    assert report["fit"] is None
    assert report["learning_curve"] is None
    assert report["stability"] is None
