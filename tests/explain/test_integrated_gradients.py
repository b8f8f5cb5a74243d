"""Integrated gradients of a small network that was really trained, and who is refused."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.catalog import EXPLAINERS
from luban.errors import ConfigError
from luban.explain import explain
from luban.explain.attribution import Attribution
from luban.explain.base import Case
from luban.explain.faithfulness import faithfulness
from luban.project import load_project
from luban.workshop import Workshop

pytest.importorskip("torch")
METHOD = "integrated-gradients"
ROWS = [{"message": "thanks, quick parcel today 12"}, {"message": "never again broken order"}, {}]


PROJECT = """\
name: tickets
owner: service-team
purpose: Send angry messages to a person.
data: {source: rows.csv, columns: {message: text}, target: angry}
explain: {methods: []}
"""


def write_project(folder: Path, num_rows: int) -> None:
    rng = random.Random(3)
    lines = ["message,angry"]
    for number in range(num_rows):
        angry = number % 2 == 0
        words = rng.choices(["broken", "refund", "never"] if angry else ["thanks", "fine", "quick"], k=3)
        words += rng.choices(["order", "parcel", "today", "please"], k=rng.randrange(1, 9))
        lines.append(f"{' '.join(words)} {rng.randrange(10**6)},{'yes' if angry else 'no'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")


def trained(folder: Path, model: str) -> Path:
    """The folder that training left."""
    write_project(folder, 300)
    sets = [f"train.models=[{model}]", "train.refit=false", "train.num_threads=1"]
    with Workshop.open(*load_project(folder, sets)).working() as shop:
        return lifecycle.train(shop, lifecycle.prepare(shop)).folder


@pytest.fixture(scope="module")
def neural(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("net"), "{kind: neural, hidden: [8], recipe: {epochs: 4, patience: 4}}")


def test_shares_reach_the_output(neural: Path) -> None:
    bundle = Bundle.load(neural / "bundle")
    found = explain(bundle, ROWS, METHOD, asked="yes", checkpoint=neural)
    assert [type(finding).__name__ for finding in found] == ["Attribution", "Attribution", "Unexplained"]
    for finding in found[:2]:
        assert isinstance(finding, Attribution)
        assert finding.gap < 2e-3
        words = bundle.preprocess.features["message"].parts(ROWS[finding.row or 0]["message"]).names
        assert [share.name for share in finding.shares] == list(words)
    again = explain(bundle, ROWS, METHOD, asked="yes", checkpoint=neural)
    assert [finding.to_json() for finding in again] == [finding.to_json() for finding in found]


def test_it_is_measured_like_others(neural: Path) -> None:
    bundle = Bundle.load(neural / "bundle")
    rows = [{"message": f"{a} order {b} today"} for a in ("broken", "thanks") for b in ("refund", "quick", "please")]
    case = Case(bundle, bundle.values(rows), checkpoint=neural)
    found = faithfulness(EXPLAINERS.make(METHOD, {"steps": 16, "max_steps": 16}), case)
    assert found.deletion.low is not None
    assert found.deletion.low > 0
    assert found.random_model.num_rows > 0


def test_who_is_refused(neural: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(neural / "bundle")
    for folder, message in (
        (None, "needs the checkpoint that training left"),
        (tmp_path, "holds no checkpoint.safetensors"),
    ):
        with pytest.raises(ConfigError, match=message):
            explain(bundle, ROWS, METHOD, checkpoint=folder)
    (tmp_path / "linear").mkdir()
    linear = trained(tmp_path / "linear", "linear")
    with pytest.raises(ConfigError, match="its family has no gradients"):
        explain(Bundle.load(linear / "bundle"), ROWS, METHOD, checkpoint=linear)
