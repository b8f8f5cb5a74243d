"""What is tried, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.bench import dataset

from luban.train.config import TrainConfig
from luban.train.encode import TrainData
from luban.train.run import choose_task
from luban.train.specs import specs


@pytest.fixture
def table(tmp_path: Path) -> TrainData:
    """Forty rows of one number and two classes."""
    rows = dataset(tmp_path, "x,y", [(i, "ab"[i % 2]) for i in range(40)], "x: number, y: category")
    return TrainData(rows, choose_task("auto", rows), seed=0)


def names(table: TrainData, models: object) -> list[str]:
    """The candidates, by name."""
    return [spec.name for spec in specs(TrainConfig.model_validate({"models": models}), table)]


def test_auto_in_a_list_stands_for_all_that_it_would_try_alone(table: TrainData) -> None:
    alone, beside = names(table, "auto"), names(table, [{"kind": "linear", "c_table": 0.5}, "auto"])
    assert len(beside) == len(alone) + 1
    assert beside[:2] == ["baseline", "linear"]
    assert beside[-1].startswith("vote")


def test_what_is_named_and_in_auto_is_tried_once(table: TrainData) -> None:
    assert sorted(names(table, ["auto", "linear", "vote"])) == sorted(names(table, "auto"))


def test_votes_come_last_wherever_they_stand(table: TrainData) -> None:
    assert names(table, ["vote", "linear"]) == ["baseline", "linear", "vote"]
