"""A vote asks its members nothing again: what they answered is known."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luban.models.graph_model import GraphModel
from luban.train import candidate
from luban.train.candidate import Candidate

from .bench import Memory, dataset


def test_members_are_asked_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(3)
    made = [[f"{chance.gauss(n % 2, 1):.3f}", "ab"[n % 2]] for n in range(300)]
    rows = dataset(tmp_path, "x,y", made, "x: number, y: category")
    asked: Counter[bytes] = Counter()
    read: list[Candidate] = []
    predict, finished = GraphModel.predict, candidate.read_candidate

    def counted(self: GraphModel, arrays: Any) -> np.ndarray:
        asked[self._bytes] += 1
        return predict(self, arrays)

    def noted(*arguments: Any) -> Candidate:
        read.append(finished(*arguments))
        return read[-1]

    monkeypatch.setattr(GraphModel, "predict", counted)
    monkeypatch.setattr("luban.train.way.read_candidate", noted)
    models = ["linear", {"kind": "linear", "c": 0.1}, {"kind": "trees", "max_rounds": 10}, "vote"]
    report = Memory(tmp_path / "kept").train(rows, tmp_path / "out", models=models, learning_curve=False, refit=False)
    members = [one for one in read if one.spec.name not in ("vote", report["chosen"])]
    assert len(members) >= 2
    assert [asked[one.graph] for one in members] == [1] * len(members), "once, to compare the graph with the model"
    vote = next(one for one in read if one.spec.name == "vote")
    outputs = np.sum([f * m for f, m in _terms(vote, read)], axis=0)
    assert vote.valid == pytest.approx(outputs, abs=1e-6)
    assert vote.facts["parity"] < 1e-4


def _terms(vote: Candidate, read: list[Candidate]) -> list[tuple[float, np.ndarray]]:
    known = {one.spec.name: one.valid for one in read}
    return [(factor, known[name]) for name, _, factor in vote.facts["decisions"]["weights"]]
