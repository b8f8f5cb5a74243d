"""Lists of labels as a target: rows without any are kept, and rare labels are in every part of the split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from luban.catalog import SOURCES
from luban.data.config import DataConfig
from luban.data.dataset import Dataset
from luban.engine.local import LocalEngine
from luban.errors import DataError
from luban.prepare.config import PrepareConfig
from luban.prepare.run import prepare


def prepared(folder: Path, lines: list[dict[str, Any]], **column: Any) -> Dataset:
    folder.mkdir(parents=True)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    source = SOURCES.make("files", {"path": str(folder / "rows.jsonl")})
    data = DataConfig.model_validate(
        {"source": str(folder / "rows.jsonl"), "target": "tags", "columns": {"tags": {"type": "tags", **column}}}
    )
    out = folder / "out"
    out.mkdir()
    return prepare(source, data, PrepareConfig(), out, seed=0, engine=LocalEngine())


def lines(rows: int = 200) -> list[dict[str, Any]]:
    made = []
    for number in range(rows):
        tags: list[str] | None = ["usual"] if number % 2 else []
        if number % 40 == 0:
            tags = ["usual", "rare"]
        if number % 10 == 3:
            tags = None
        made.append({"x": number * 1.5, "tags": tags})
    return made


def test_rows_without_labels_are_kept_and_counted(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "a", lines())
    assert dataset.num_rows == 200
    assert any("20 rows have an empty `tags`" in note for note in dataset.report["notes"])
    aside = prepared(tmp_path / "b", lines(), empty="missing")
    assert aside.num_rows == 180
    assert aside.report["rows"]["quarantined"] == {"target-missing": 20}


def test_a_rare_label_is_in_every_part(tmp_path: Path) -> None:
    dataset = prepared(tmp_path / "a", lines())
    assert "rarest" in dataset.report["split"]["why"]
    for split in ("train", "valid", "test"):
        assert any("rare" in (tags or ()) for tags in dataset.values("tags", split)), split


def test_labels_are_in_the_profile(tmp_path: Path) -> None:
    column = next(c for c in prepared(tmp_path / "a", lines()).report["columns"] if c["name"] == "tags")
    assert column["profile"]["top"] == [["usual", 85], ["rare", 5]]


def test_one_list_in_all_rows_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two different values"):
        prepared(tmp_path / "a", [{"x": number, "tags": ["a", "b"]} for number in range(50)])
    with pytest.raises(DataError, match="no value that can be read"):
        prepared(tmp_path / "b", [{"x": number, "tags": None} for number in range(50)])
