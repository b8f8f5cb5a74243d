"""Trials on a real training run: candidates like any other, on one split and on folds."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from luban.catalog import FAMILIES, Choice
from luban.data.dataset import Dataset
from luban.train.encode import TrainData
from luban.train.run import choose_task
from luban.train.tune import bench
from luban.train.tune.halving import with_share

from ..bench import Memory, dataset

SPACE = {"c": [0.1, 100], "weighting": ["tfidf", "nb"]}


def rows(count: int) -> list[list[object]]:
    draw = random.Random(8)
    found: list[list[object]] = []
    for number in range(count):
        name = "abc"[min(draw.randint(0, 5), 2)]
        word = {"a": "good", "b": "bad", "c": "late"}[name if draw.random() < 0.7 else "a"]
        found.append([f"{word} {draw.randint(0, 40)} {number}", f"{draw.gauss('abc'.index(name), 1):.3f}", name])
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return dataset(folder, "text,x,y", rows(1100), "text: text, x: number, y: category")


def test_the_best_trials_join_the_vote_and_the_rest_do_not(data: Dataset, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "kept")
    tune = {"family": "linear", "trials": 8, "sampler": "random", "pruner": "halving", "space": SPACE, "voters": 2}
    report = memory.train(data, tmp_path / "out", models=["linear", "vote"], tune=tune)
    board = {row["name"]: row for row in report["leaderboard"]}
    assert list(board) == ["baseline", "linear", *(f"linear#{n}" for n in range(1, 9)), "vote"]
    assert board["linear#1"]["loss"] == board["linear"]["loss"], "the first is the family as it is stated"
    trials = report["tuning"]["trials"]
    trained = sorted((t["loss"], t["name"]) for t in trials if t["status"] == "trained")
    assert report["tuning"]["best"] == trained[0][1]
    assert report["tuning"]["counts"]["pruned"] == len(trials) - len(trained) > 0
    (vote,) = [key for key in memory.made if key.startswith("vote:")]
    assert set(vote.rsplit("}", 1)[1].strip(":").split(":")) == {"linear", *(name for _, name in trained[:2])}
    for trial in trials:
        assert sum(key.startswith(f"{trial['name']} on 1/3:") for key in memory.made) == 1
        assert sum(key.startswith(f"{trial['name']}:") for key in memory.made) == (trial["status"] == "trained")


def test_another_seed_asks_for_others(data: Dataset, tmp_path: Path) -> None:
    tune = {"family": "linear", "trials": 3, "sampler": "random", "pruner": "none", "space": {"c": [1, 100]}}
    asked = []
    for seed in (0, 0, 1):
        memory = Memory(tmp_path / f"kept{len(asked)}")
        report = memory.train(data, tmp_path / f"out{len(asked)}", seed, models=["linear"], tune=tune)
        asked.append([trial["values"] for trial in report["tuning"]["trials"]])
    assert asked[0] == asked[1]
    assert asked[0][1:] != asked[2][1:]


def test_on_folds_a_trial_is_trained_on_each(data: Dataset, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "kept")
    tune = {"family": {"kind": "trees", "max_rounds": 20}, "trials": 2, "sampler": "grid", "grid_points": 2,
            "pruner": "none", "space": {"leaves": [4, 8]}}  # fmt: skip
    report = memory.train(data, tmp_path / "out", models=["linear"], folds={"num": 3}, tune=tune)
    rows = {row["name"]: row for row in report["leaderboard"]}
    assert rows["trees#1"]["status"] == rows["trees#2"]["status"] == "trained"
    assert rows["trees#1"]["spread"] is not None
    assert sum("trees#1 fold" in key for key in memory.made) == 3
    assert report["tuning"]["best"] in rows


def test_a_search_over_a_vote(data: Dataset, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "kept")
    tune = {"family": "vote", "trials": 3, "sampler": "random", "space": {"start": [1, 2], "rounds": [1, 9]}}
    report = memory.train(data, tmp_path / "out", models=["linear", {"kind": "linear", "c": 1.0}], tune=tune)
    assert report["tuning"]["counts"]["trained"] >= 2
    assert not any(" on 1/" in key for key in memory.made)


def test_without_two_candidates_a_vote_cannot_be_searched(data: Dataset, tmp_path: Path) -> None:
    tune = {"family": "vote", "trials": 2, "sampler": "random"}
    report = Memory(tmp_path / "kept").train(data, tmp_path / "out", models=["linear"], tune=tune)
    assert report["tuning"]["counts"] == {"trained": 0, "pruned": 0, "refused": 2}
    assert report["tuning"]["best"] is None
    assert report["chosen"] == "linear"


def test_shares_are_nested_and_hold_every_class(data: Dataset) -> None:
    whole = TrainData(data, choose_task("auto", data), seed=4)
    ninth, third = with_share(whole, 1 / 9), with_share(whole, 1 / 3)
    texts = [set(one.values("text", "train")) for one in (ninth, third, whole)]
    assert texts[0] < texts[1] < texts[2]
    shares = [np.bincount(one.y("train")) / len(one.y("train")) for one in (ninth, third, whole)]
    assert np.abs(shares[0] - shares[2]).max() < 0.02
    assert list(ninth.values("text", "valid")) == list(whole.values("text", "valid"))


def test_room_is_made(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MOST_BYTES", 0)
    forgotten = []
    real = TrainData.forget
    monkeypatch.setattr(TrainData, "forget", lambda self: forgotten.append(self) or real(self))
    tune = {"family": "linear", "trials": 2, "sampler": "grid", "space": {"bags.0.ngram_max": [1, 2]}}
    report = Memory(tmp_path / "kept").train(data, tmp_path / "out", models=["linear"], tune=tune)
    assert forgotten
    assert report["tuning"]["counts"]["trained"] >= 1


def test_every_family_says_what_may_be_searched() -> None:
    from luban.train.tune.space import declared

    for kind in FAMILIES.own():
        names = declared(Choice(kind, FAMILIES.resolve(kind).Config()).config)
        assert names or kind == "baseline", f"{kind} has no searchable setting"
