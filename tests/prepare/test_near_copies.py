"""Near copies from a CSV file to a dataset: found, told apart from others, and never in two splits."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from luban.catalog import SOURCES
from luban.data.config import DataConfig
from luban.data.dataset import Dataset
from luban.engine.local import LocalEngine
from luban.prepare.config import PrepareConfig
from luban.prepare.run import prepare

from .memory import quarantine

FAMILIES, COPIES = 80, 3
LETTERS = "abcdefghijklmnopqrstuvwxyz 一二三四五六七八九十"


def written(path: Path) -> None:
    """A CSV in any order: of each `family` texts of which two differ in two letters of 200 (similarity 0.9)."""
    draw = random.Random(0)
    rows = []
    for family in range(FAMILIES):
        text = "".join(draw.choices(LETTERS, k=200))
        for copy in range(COPIES):
            place = 20 * (copy + 1)
            rows.append([f"{text[:place]}{copy}{text[place + 1 :]}", "yes" if family % 2 else "no", f"f{family}"])
    draw.shuffle(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "label", "family"], *rows])


def made(folder: Path, name: str, steps: Sequence[Any]) -> Dataset:
    source = {"kind": "csv", "path": str(folder / "rows.csv")}
    columns = {"text": "text", "family": {"type": "category", "role": "meta"}}
    data = DataConfig.model_validate({"source": source, "target": "label", "columns": columns})
    config = PrepareConfig.model_validate({"steps": ["unicode", "missing", *steps], "split": {"by": "random"}})
    out = folder / name
    out.mkdir()
    read = SOURCES.make(data.source.kind, data.source.config.model_dump())
    return prepare(read, data, config, out, seed=0, engine=LocalEngine())


def by_family(dataset: Dataset, column: str) -> dict[str, set[Any]]:
    found: dict[str, set[Any]] = defaultdict(set)
    for row in dataset.table(["family", column]).to_pylist():
        found[row["family"]].add(row[column])
    return found


def test_near_copies_are_one_group_in_one_split(tmp_path: Path) -> None:
    written(tmp_path / "rows.csv")
    apart = by_family(made(tmp_path, "apart", ["duplicates"]), "_split")
    assert any(len(parts) > 1 for parts in apart.values()), "what the step is for"
    dataset = made(tmp_path, "together", ["duplicates", "near-duplicates"])
    assert dataset.report["rows"]["quarantined"] == {}
    groups = by_family(dataset, "_group")
    assert all(len(found) == 1 for found in groups.values())
    assert len(set.union(*groups.values())) == FAMILIES
    assert all(len(parts) == 1 for parts in by_family(dataset, "_split").values())
    assert min(dataset.splits.values()) > 0
    assert sum(dataset.splits.values()) == FAMILIES * COPIES


def test_near_copies_are_dropped_if_asked(tmp_path: Path) -> None:
    written(tmp_path / "rows.csv")
    dataset = made(tmp_path, "dropped", [{"kind": "near-duplicates", "action": "drop"}])
    assert dataset.report["rows"]["quarantined"] == {"near-duplicates": FAMILIES * (COPIES - 1)}
    assert sorted(dataset.values("family")) == sorted({f"f{n}" for n in range(FAMILIES)})
    kept = dict(zip(dataset.values("_row_id"), dataset.values("family"), strict=True))
    assert all(kept[row["other"]] in row["raw"] for row in quarantine(dataset))
