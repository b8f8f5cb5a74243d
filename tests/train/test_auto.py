"""What `auto` does with families that cost much, or whose libraries are not here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.train.bench import dataset

from luban.train import specs as order
from luban.train.config import TrainConfig
from luban.train.encode import TrainData
from luban.train.run import choose_task


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    """Forty texts of two classes."""
    rows = dataset(tmp_path, "x,y", [(f"text {i} of many", "ab"[i % 2]) for i in range(40)], "x: text, y: category")
    return TrainData(rows, choose_task("auto", rows), seed=0)


def listed(data: TrainData) -> dict[str, str]:
    """Candidates in order, and why one is skipped."""
    return {spec.name: spec.skip for spec in order.specs(TrainConfig(), data)}


def test_networks_are_tried_after_all_that_is_cheap(data: TrainData) -> None:
    names = list(listed(data))
    assert names.index("neural") > max(names.index(name) for name in names if name.startswith("linear"))
    assert names.index("neural") < names.index("vote")
    assert listed(data)["neural"] == ""


def test_where_pytorch_is_not_installed_it_says_so(data: TrainData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "find_spec", lambda name: None)
    assert listed(data)["neural"] == 'needs torch; run: pip install "luban[neural]"'
    assert listed(data)["linear"] == ""
