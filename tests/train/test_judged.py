"""What is left of the model before its refit: it answers as it did when it was chosen, on rows that it did not see."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from luban.bundle.bundle import Bundle
from luban.bundle.write import GRAPH
from luban.data.dataset import Dataset
from luban.models.graph_model import GraphModel
from luban.train.encode import TrainData
from luban.train.write import read_judged

from .bench import Memory, dataset, task_of

TWO: list[Any] = ["linear", {"kind": "linear", "c": 0.1}]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    chance = random.Random(3)
    made = [[f"{chance.gauss(n % 2, 1):.3f}", chance.choice("pqr"), "ab"[n % 2]] for n in range(300)]
    columns = "x: number, c: category, y: category"
    return dataset(tmp_path_factory.mktemp("rows"), "x,c,y", made, columns)


@pytest.mark.parametrize(
    "settings",
    [
        {"models": ["linear"]},
        {"models": [*TWO, "vote"]},
        {"models": ["linear"], "folds": {"num": 3}},
        {"models": ["linear"], "folds": {"num": 3, "final": "bag"}},
        {"models": [*TWO, "stack"], "folds": {"num": 3}},
    ],
    ids=["one", "vote", "folds", "bag", "stack"],
)
def test_the_judged_model_and_its_unseen_rows(rows: Dataset, tmp_path: Path, settings: dict[str, Any]) -> None:
    report = Memory(tmp_path / "kept").train(rows, tmp_path / "out", learning_curve=False, **settings)
    folder, data = read_judged(tmp_path / "out", TrainData(rows, task_of(rows), 0))
    assert folder == tmp_path / "out" / "judged" / "bundle"
    learnt, unseen = (data.rows[name].at for name in ("train", "valid"))
    assert learnt is not None
    assert unseen is not None
    assert sorted([*learnt, *unseen]) == list(range(rows.splits["train"] + rows.splits["valid"]))
    judged = Bundle.load(folder)
    assert judged.identity != Bundle.load(tmp_path / "out" / "bundle").identity
    outputs = GraphModel((folder / GRAPH).read_bytes()).predict(data.arrays(judged.encoders, "valid"))
    chosen_by = load_file(tmp_path / "out" / "outputs.safetensors")
    if "folds" not in settings:
        assert outputs == pytest.approx(chosen_by["valid"], abs=1e-5)
    elif report["chosen"] == "linear":
        assert outputs == pytest.approx(chosen_by["valid"][unseen], abs=1e-5)
    assert np.array_equal(
        data.y("valid"), chosen_by["valid_y"] if "folds" not in settings else chosen_by["valid_y"][unseen]
    )


def test_without_a_refit_the_bundle_is_judged_itself(rows: Dataset, tmp_path: Path) -> None:
    Memory(tmp_path / "kept").train(rows, tmp_path / "out", models=["linear"], refit=False, learning_curve=False)
    data = TrainData(rows, task_of(rows), 0)
    assert read_judged(tmp_path / "out", data) == (tmp_path / "out" / "bundle", data)
