"""What is measured by the truth is asked of a model, and about rows, that do not know each other."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID, Dataset
from luban.explain.unseen import Asked, to_measure, to_read
from luban.project import load_project
from luban.workshop import Workshop

PROJECT = """\
name: parcels
owner: service-team
purpose: Tell late parcels.
data: {source: rows.csv, columns: {message: text, days: number}, target: late}
train: {models: [linear], num_threads: 1, learning_curve: false}
explain: {num_rows: 4, seconds: 600}
"""
MOST = 25


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parcels")
    rng = random.Random(4)
    lines = ["message,days,late"]
    for number in range(300):
        late = number % 2 if rng.random() < 0.8 else 1 - number % 2
        words = rng.choices(["slow", "waiting"] if late else ["here", "thanks"], k=2)
        lines.append(f"{' '.join(words)} {number},{rng.randrange(9)},{'yes' if number % 2 else 'no'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")
    return folder


def trained(project: Path, *sets: str) -> tuple[Dataset, Path, dict[str, Any]]:
    """The dataset, the folder that training and compression left, and what `explain` says of it."""
    with Workshop.open(*load_project(project, sets)).working() as shop:
        dataset = lifecycle.prepare(shop)
        left = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        return dataset, left.folder, lifecycle.explain(shop, dataset, left).report


def asked(dataset: Dataset, folder: Path) -> tuple[Asked, Asked]:
    """What is read, and what is measured."""
    read = to_read(Bundle.load(folder / "bundle"), dataset, 0, MOST, folder)
    return read, to_measure(read, dataset, MOST)


def targets(dataset: Dataset, found: Asked) -> list[str]:
    """The targets of a case's rows, looked up by their ids."""
    known = dict(zip(dataset.values(ROW_ID), dataset.values("late"), strict=True))
    return [known[row_id] for row_id in found.ids]


def agrees(dataset: Dataset, found: Asked) -> None:
    """Rows, ids and truth of a case belong together."""
    messages = dict(zip(dataset.values(ROW_ID), dataset.values("message"), strict=True))
    assert [messages[row_id] for row_id in found.ids] == list(found.case.values.columns["message"])
    assert found.case.truth is not None
    pairs = set(zip(targets(dataset, found), np.asarray(found.case.truth).ravel().tolist(), strict=True))
    assert len(pairs) == 2, "each class has one number"


@pytest.mark.parametrize("sets", [(), ("train.folds={num: 3}",), ("train.folds={num: 3, final: bag}",)])
def test_a_model_that_was_fitted_again_is_measured_as_it_was_before(project: Path, sets: tuple[str, ...]) -> None:
    dataset, folder, report = trained(project, *sets)
    read, measured = asked(dataset, folder)
    assert (read.model, measured.model) == ("learnt", "before")
    assert read.case.bundle.identity == Bundle.load(folder / "bundle").identity
    assert measured.case.bundle.identity == Bundle.load(folder / "judged" / "bundle").identity
    assert measured.case.bundle.identity != read.case.bundle.identity
    rows = load_file(folder / "judged" / "rows.safetensors")
    both = np.array([*dataset.values(ROW_ID, "train"), *dataset.values(ROW_ID, "valid")])
    assert len(measured.ids) == MOST
    assert set(measured.ids) <= set(both[rows["valid"]])
    assert not set(measured.ids) & {*both[rows["train"]], *dataset.values(ROW_ID, "test")}
    for found in (read, measured):
        agrees(dataset, found)
    importance, shapley = report["methods"]
    assert (importance["model"], shapley["model"]) == ("before", "learnt")


def test_a_model_that_was_not_fitted_again_is_asked_itself(project: Path) -> None:
    dataset, folder, report = trained(project, "train.refit=false")
    read, measured = asked(dataset, folder)
    assert read is measured
    assert read.model == "itself"
    assert set(read.ids) <= set(dataset.values(ROW_ID, "valid"))
    agrees(dataset, read)
    assert {method["model"] for method in report["methods"]} == {"itself"}


def test_where_all_rows_were_learnt_it_says_so(project: Path) -> None:
    dataset, folder, report = trained(project, "prepare.split.valid=0", "train.models=[linear]")
    read, measured = asked(dataset, folder)
    assert read is measured
    assert read.model == "learnt"
    assert {method["model"] for method in report["methods"]} == {"learnt"}
