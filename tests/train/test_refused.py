"""Candidates that cannot be trained on the data at hand: refused with the reason, and the others go on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from luban.data.dataset import Dataset
from luban.errors import DataError
from luban.models.linear import Linear

from .bench import Memory, dataset

SENTENCE = "At the first step the loss was nan, so nothing could be learnt."
WEAK: dict[str, Any] = {"kind": "linear", "c": 0.1}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    chance = random.Random(3)
    made = [[f"{chance.gauss(n % 2, 1):.3f}", "ab"[n % 2]] for n in range(300)]
    return dataset(tmp_path_factory.mktemp("rows"), "x,y", made, "x: number, y: category")


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A linear model of c = 0.1 cannot be fitted to fewer than `rows` rows, nor any under the seeds `seeds`."""
    how: dict[str, Any] = {"rows": 1_000_000, "seeds": (), "asked": 0}
    fit = Linear.fit

    def broken(self: Linear, arrays: Any, y: Any, context: Any) -> Any:
        if self.config.c == 0.1 and (len(y) < how["rows"] or context.seed in how["seeds"]):
            how["asked"] += 1
            raise DataError(SENTENCE, "Try another.")
        return fit(self, arrays, y, context)

    monkeypatch.setattr(Linear, "fit", broken)
    return how


@pytest.mark.parametrize("settings", [{}, {"folds": {"num": 3}}], ids=["split", "folds"])
def test_one_that_fails_is_refused_and_the_others_go_on(
    rows: Dataset, tmp_path: Path, breaking: dict[str, Any], settings: dict[str, Any]
) -> None:
    memory = Memory(tmp_path / "kept")
    report = memory.train(rows, tmp_path / "out", models=[WEAK, "linear", "vote"], **settings)
    first = next(row for row in report["leaderboard"] if row["config"].get("c") == 0.1)
    assert (first["status"], first["reason"], first["loss"]) == ("refused", SENTENCE, None)
    assert report["chosen"] == "linear-2"
    asked = breaking["asked"]
    memory.train(rows, tmp_path / "again", models=[WEAK, "linear", "vote"], **settings)
    assert breaking["asked"] == asked, "a resumed run does not try again"


def test_none_left_ends_the_run_with_the_reason(rows: Dataset, tmp_path: Path, breaking: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"No model could be trained\. .*the loss was nan"):
        Memory(tmp_path / "kept").train(rows, tmp_path / "out", models=[WEAK])


def test_the_curve_and_other_seeds_go_on_without_it(rows: Dataset, tmp_path: Path, breaking: dict[str, Any]) -> None:
    breaking.update(rows=60, seeds=(2,))
    report = Memory(tmp_path / "kept").train(rows, tmp_path / "out", models=[WEAK], learning_curve=True, seeds=3)
    total = report["rows"]["train"]
    assert [round(total / point["rows"]) for point in report["learning_curve"]] == [2, 1]
    stability = report["stability"]
    assert stability["seeds"] == [0, 1]
    assert stability["failed"] == {"2": SENTENCE}
    breaking.update(seeds=(1, 2))
    report = Memory(tmp_path / "other").train(rows, tmp_path / "more", models=[WEAK], learning_curve=False, seeds=3)
    assert report["stability"]["spread"] is None
    assert set(report["stability"]["failed"]) == {"1", "2"}
