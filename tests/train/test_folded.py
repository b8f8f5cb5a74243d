"""Training on folds: out-of-fold outputs are honest, what is released is whole, and nothing is done twice."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luban.bundle.bundle import Bundle
from luban.catalog import FAMILIES, TASKS, Choice
from luban.data.dataset import Dataset
from luban.errors import ConfigError
from luban.train.candidate import Candidate, Spec
from luban.train.config import FoldsConfig, TrainConfig
from luban.train.folded import Folded
from luban.train.way import middle

from .bench import Memory, dataset, task_of

COLUMNS = "text: text, x: number, city: category, y: category"


def rows(count: int = 160, classes: str = "ab", seed: int = 3) -> list[list[object]]:
    chance = random.Random(seed)
    found: list[list[object]] = []
    for number in range(count):
        name = chance.choice(classes)
        word = {"a": "good", "b": "bad", "c": "late"}[name if chance.random() < 0.8 else "a"]
        x = "abc".index(name) + chance.gauss(0, 0.8)
        found.append([f"{word} {number}", f"{x:.3f}", chance.choice(["Rome", "Oslo"]), name])
    return found


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("three"), "text,x,city,y", rows(180, "abc"), COLUMNS)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("two"), "text,x,city,y", rows(), COLUMNS)


def folded(data: Dataset, memory: Memory, **settings: Any) -> Folded:
    config = FoldsConfig.model_validate(settings)
    return Folded(data, task_of(data), 0, config, memory.tools(folds=config))


def spec(kind: str, **settings: Any) -> Spec:
    return Spec(kind, Choice(kind, FAMILIES.resolve(kind).Config.model_validate(settings)))


def trained(way: Folded, kind: str, members: tuple[Candidate, ...] = (), **settings: Any) -> Candidate:
    return way.train(spec(kind, **settings), members, lambda: 1e9)


MODELS = ["linear", {"kind": "trees", "max_rounds": 30, "patience_rounds": 5}, "vote", "stack"]


@pytest.mark.parametrize("final", ["refit", "bag"])
def test_released_and_right(three: Dataset, tmp_path: Path, final: str) -> None:
    memory = Memory(tmp_path / "kept")
    report = memory.train(three, tmp_path / "out", folds={"num": 3, "final": final}, models=MODELS)
    board = {row["name"]: row for row in report["leaderboard"]}
    assert list(board) == ["baseline", "linear", "trees", "vote", "stack"]
    assert all(row["status"] == "trained" and row["spread"] >= 0 for row in board.values())
    assert board[report["chosen"]]["loss"] < board["baseline"]["loss"]
    assert report["folds"]["num"] == 3
    assert sum(report["folds"]["rows"]) == three.splits["train"] + three.splits["valid"]
    assert report["parity"] <= 1e-4
    assert report["refit"] == (final == "refit")
    bundle = Bundle.load(tmp_path / "out" / "bundle")
    answers = bundle.predict([{"text": "good", "x": 0}, {"text": "late", "x": 2.5}]).rows()
    assert [answer["label"] for answer in answers] == ["a", "c"]


@pytest.mark.parametrize("final", ["refit", "bag"])
@pytest.mark.parametrize("kind", ["linear", "stack"])
def test_outputs_on_test_rows_are_those_of_the_bundle(two: Dataset, tmp_path: Path, final: str, kind: str) -> None:
    way = folded(two, Memory(tmp_path), num=3, final=final)
    members = (trained(way, "linear"), trained(way, "trees", max_rounds=20))
    chosen = members[0] if kind == "linear" else trained(way, kind, members)
    done = [*members, chosen]
    found = way.final(chosen, done)
    assert found.test.shape == (two.splits["test"], 1)
    from luban.models.graph_model import GraphModel

    answered = GraphModel(found.graph).predict(way.data.arrays(found.encoders, "test"))
    assert np.abs(answered - found.test).max() <= 1e-4
    if final == "bag" and kind == "linear":
        assert np.allclose(found.test, np.mean([one.test for one in chosen.folds], axis=0))
        assert len({encoder.state_fingerprint for _, encoder in found.encoders}) >= 3
    else:
        assert found.folds == ()


def test_every_row_is_judged_by_a_model_that_did_not_see_it(two: Dataset, tmp_path: Path) -> None:
    way = folded(two, Memory(tmp_path), num=4)
    text = np.array(way.data.values("text", "train"))
    for number, fold in enumerate(way.folds):
        assert set(fold.values("text", "train")) | set(fold.values("text", "valid")) == set(text)
        assert not set(fold.values("text", "train")) & set(fold.values("text", "valid"))
        assert fold.values("text", "valid") == text[way.fold == number].tolist()
        assert np.array_equal(fold.y("valid"), way.truth[way.fold == number])
    linear = trained(way, "linear")
    for number, one in enumerate(linear.folds):
        assert np.array_equal(linear.valid[way.fold == number], one.valid)


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_one_that_remembers_is_no_better_than_chance(tmp_path: Path, kind: str) -> None:
    """Labels are drawn by person: whoever saw a person's other rows, or learnt an encoding from them, is right."""
    chance = random.Random(5)
    label = {name: chance.choice("ab") for name in range(100)}
    made = [[f"p{n}", f"badge {n}", label[n]] for n in range(100) for _ in range(5)]
    chance.shuffle(made)
    columns = "who: {type: category, role: group}, badge: category, y: category"
    found = dataset(tmp_path, "who,badge,y", made, columns)
    way = folded(found, Memory(tmp_path / "kept"), num=5)
    model = trained(way, kind, **({"c_table": 100.0} if kind == "linear" else {"max_rounds": 50}))
    right = ((model.valid[:, 0] > 0) == (way.truth > 0.5)).mean()
    assert right < 0.65
    assert model.loss > 0.66
    one = model.folds[0]
    seen = way.folds[0]
    from luban.models.graph_model import GraphModel

    outputs = GraphModel(one.graph).predict(seen.arrays(one.encoders, "train"))
    if kind == "linear":
        assert ((outputs[:, 0] > 0) == (seen.y("train") > 0.5)).mean() > 0.95


def test_votes_are_cross_fitted(two: Dataset, tmp_path: Path) -> None:
    """A member that is right on fold 0 alone has no weight there: its weights come from the other folds."""
    from dataclasses import replace

    way = folded(two, Memory(tmp_path), num=4)
    linear = trained(way, "linear")
    sign = 2.0 * way.truth[:, None] - 1
    wrong = np.where((way.fold == 0)[:, None], 6 * sign, -6 * sign)
    liar = replace(linear, spec=replace(linear.spec, name="liar"), valid=wrong)
    stack = trained(way, "stack", (linear, liar))
    assert np.corrcoef(stack.valid[way.fold == 0, 0], linear.valid[way.fold == 0, 0])[0, 1] > 0.99


def test_killed_between_folds_it_goes_on(two: Dataset, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"folds": {"num": 3}, "models": ["linear", "vote", {"kind": "linear", "c": 1.0}]}
    whole = Memory(tmp_path / "whole")
    whole.train(two, tmp_path / "out", **settings)
    identity = Bundle.load(tmp_path / "out" / "bundle").identity
    total = len(whole.made)
    assert total >= 3 * 3 + 1 + 2
    for number in range(1, total, 2):
        memory = Memory(tmp_path / f"kept {number}", killed_at=number)
        with pytest.raises(KeyboardInterrupt):
            memory.train(two, tmp_path / f"killed {number}", **settings)
        first, memory.killed_at = list(memory.made), None
        memory.train(two, tmp_path / f"again {number}", **settings)
        assert memory.made[: len(first)] == first
        assert sorted(memory.made) == sorted(whole.made)
        assert Bundle.load(tmp_path / f"again {number}" / "bundle").identity == identity


def test_rounds_of_the_refit_are_the_median_of_the_folds(two: Dataset, tmp_path: Path) -> None:
    memory = Memory(tmp_path / "kept")
    trees = {"kind": "trees", "max_rounds": 200, "patience_rounds": 5}
    memory.train(two, tmp_path / "out", folds={"num": 3}, models=[trees])
    rounds = [memory.decisions[f"trees fold {number}:rounds"] for number in (1, 2, 3)]
    assert memory.decisions["trees:rounds"] == int(np.median(rounds))


def test_middle_takes_numbers_by_median_and_others_from_the_typical_fold() -> None:
    folds = [
        {"loss": loss, "decisions": {"steps": steps, "rate": rate, "how": how}}
        for loss, steps, rate, how in ((3.0, 10, 0.5, "x"), (1.0, 30, 0.1, "y"), (2.0, 50, 0.2, "z"))
    ]
    assert middle(folds) == {"steps": 30, "rate": 0.2, "how": "z"}
    assert middle([]) == {}


@pytest.mark.parametrize("kind", ["linear", "trees"])
def test_a_fold_without_a_class(tmp_path: Path, kind: str) -> None:
    """Class c has two rows in all but the test: the fold that holds one trains with one, or with none."""
    made = [[f"row {n}", f"{n % 7}.{n}", "Rome", "ab"[n % 2]] for n in range(60)]
    made += [["odd one", "50.0", "Oslo", "c"]]
    found = dataset(tmp_path, "text,x,city,y", made, COLUMNS, "valid: 0, test: 0.2")
    way = folded(found, Memory(tmp_path / "kept"), num=5)
    assert (way.truth == 2).sum() == 1
    model = trained(way, kind, **({"max_rounds": 20} if kind == "trees" else {}))
    without = int(way.fold[way.truth == 2][0])
    assert not (way.folds[without].y("train") == 2).any()
    assert np.isfinite(model.valid).all()
    assert model.loss < 5
    odd = model.valid[way.truth == 2][0]
    assert odd[2] == odd.min(), "what was never seen is the least likely"


def test_a_fold_of_one_class_gets_the_constant(tmp_path: Path) -> None:
    made = [[f"row {n}", n, "Rome", "a"] for n in range(40)] + [["odd", 1, "Rome", "b"]]
    found = dataset(tmp_path, "text,x,city,y", made, COLUMNS, "valid: 0, test: 0.1")
    way = folded(found, Memory(tmp_path / "kept"), num=4, final="bag")
    assert way.truth.sum() == 1
    model = trained(way, "linear")
    alone = model.folds[int(way.fold[way.truth == 1][0])]
    assert np.ptp(alone.valid) == 0
    assert alone.valid[0, 0] == pytest.approx(
        np.log(0.5 / (len(way.truth) - np.bincount(way.fold).max() + 0.5)), abs=0.1
    )
    assert np.isfinite(way.final(model, [model]).test).all()


def test_tiny_data_has_fewer_folds_than_asked(tmp_path: Path) -> None:
    made = [[f"row {n}", n, "Rome", "ab"[n % 2]] for n in range(8)]
    found = dataset(tmp_path, "text,x,city,y", made, COLUMNS, "valid: 0, test: 0.25")
    memory = Memory(tmp_path / "kept")
    report = memory.train(found, tmp_path / "out", folds={"num": 50}, models=["linear", "vote"])
    assert report["folds"]["num"] == 6
    assert report["folds"]["asked"] == 50
    Bundle.load(tmp_path / "out" / "bundle")
    assert len(json.loads((tmp_path / "out" / "bundle" / "examples.json").read_bytes())) == 3, (
        "of training rows: there are no others"
    )


def test_regression(tmp_path: Path) -> None:
    chance = random.Random(1)
    made = [[f"row {n}", n / 10, "Rome", f"{n / 5 + chance.gauss(0, 1):.3f}"] for n in range(120)]
    found = dataset(tmp_path, "text,x,city,y", made, COLUMNS.replace(" y: category", " y: number"))
    memory = Memory(tmp_path / "kept")
    report = memory.train(found, tmp_path / "out", folds={"num": 4}, models=["linear", "trees", "stack"])
    board = {row["name"]: row["loss"] for row in report["leaderboard"]}
    assert board["stack"] < 1.1 * min(board["linear"], board["trees"])
    answer = Bundle.load(tmp_path / "out" / "bundle").predict([{"x": 6.0, "text": "row 60", "city": "Rome"}]).rows()[0]
    assert answer["low"] < 12 < answer["high"]


def test_tags_of_which_one_is_in_a_single_row(tmp_path: Path) -> None:
    chance = random.Random(1)
    made = []
    for number in range(90):
        tags = [name for name in ("cold", "loud") if chance.random() < 0.5] + (["odd"] if number == 50 else [])
        made.append([f"{' '.join(tags)} room {number}", number, "Rome", ";".join(tags)])
    columns = COLUMNS.replace(" y: category", " y: {type: tags, separator: ';'}")
    found = dataset(tmp_path, "text,x,city,y", made, columns, "valid: 0, test: 0.1, by: random")
    memory = Memory(tmp_path / "kept")
    models = ["linear", {"kind": "linear", "c": 1.0}, "vote", "stack"]
    report = memory.train(found, tmp_path / "out", folds={"num": 3}, models=models, learning_curve=True, seeds=2)
    assert {row["status"] for row in report["leaderboard"]} == {"trained"}, report["leaderboard"]
    assert report["parity"] <= 1e-4
    assert report["stability"]["changed"] == 0
    answer = Bundle.load(tmp_path / "out" / "bundle").predict([{"text": "loud room", "x": 3, "city": "Rome"}]).rows()[0]
    assert "loud" in str(answer)


def test_ordered_classes(tmp_path: Path) -> None:
    chance = random.Random(1)
    made = [[f"row {n}", f"{n % 4 + chance.gauss(0, 0.4):.3f}", "Rome", n % 4] for n in range(120)]
    found = dataset(tmp_path, "text,x,city,y", made, COLUMNS)
    ordinal = Choice("ordinal", TASKS.resolve("ordinal").Config())
    models = ["linear", {"kind": "linear", "c_table": 0.1}, "vote", "stack"]
    memory = Memory(tmp_path / "kept")
    report = memory.train(
        found, tmp_path / "out", task=ordinal, folds={"num": 3, "final": "bag"}, models=models, learning_curve=True
    )
    board = {row["name"]: row["loss"] for row in report["leaderboard"]}
    assert board[report["chosen"]] < 0.7 * board["baseline"]
    assert report["parity"] <= 1e-4
    assert len(report["learning_curve"]) >= 2


def test_time_is_shared_by_folds(two: Dataset, tmp_path: Path) -> None:
    given = []
    way = folded(two, Memory(tmp_path), num=3)
    way.train(spec("linear"), (), lambda: given.append(1) or 12.0)
    assert len(given) == 3


def test_no_more_is_held_than_allowed(two: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luban.train.folded.MOST_BYTES", 1000)
    way = folded(two, Memory(tmp_path / "a"), num=3)
    first = trained(way, "linear")
    assert sum(fold.held_bytes > 0 for fold in way.folds) == 1
    monkeypatch.undo()
    free = folded(two, Memory(tmp_path / "b"), num=3)
    assert np.array_equal(trained(free, "linear").valid, first.valid)
    assert sum(fold.held_bytes > 0 for fold in free.folds) == 3


def test_refit_false_needs_bag() -> None:
    with pytest.raises(ValueError, match="must be bag"):
        TrainConfig.model_validate({"refit": False, "folds": {}})
    assert TrainConfig.model_validate({"refit": False, "folds": {"final": "bag"}}).folds


def test_stack_is_refused_without_folds(two: Dataset, tmp_path: Path) -> None:
    report = Memory(tmp_path / "kept").train(two, tmp_path / "out", models=["linear", "trees", "stack"])
    (row,) = [row for row in report["leaderboard"] if row["name"] == "stack"]
    assert row["status"] == "refused"
    assert "train.folds" in row["reason"]


def test_auto_tries_a_stack_only_with_folds(two: Dataset, tmp_path: Path) -> None:
    few = {"max_candidates": 2}
    plain = Memory(tmp_path / "one").train(two, tmp_path / "plain", **few)
    assert "stack" not in {row["family"] for row in plain["leaderboard"]}
    folds = Memory(tmp_path / "two").train(two, tmp_path / "folds", folds={"num": 2}, **few)
    assert "stack" in {row["family"] for row in folds["leaderboard"] if row["status"] == "trained"}


def test_what_is_written_is_json(two: Dataset, tmp_path: Path) -> None:
    Memory(tmp_path / "kept").train(two, tmp_path / "out", folds={"num": 2}, models=["linear"])
    report = json.loads((tmp_path / "out" / "training.json").read_bytes())
    assert report["folds"]["final"] == "refit"


def test_folds_by_time_are_refused_by_name(tmp_path: Path) -> None:
    made = [[f"2024-01-{n % 28 + 1:02d}", n, "ab"[n % 2]] for n in range(60)]
    found = dataset(tmp_path, "day,x,y", made, "day: {type: time, role: time}, x: number, y: category", "test: 0.2")
    with pytest.raises(ConfigError, match="split is by time"):
        folded(found, Memory(tmp_path / "kept"), num=3)
