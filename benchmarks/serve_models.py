"""What the serving benchmarks serve: a small table model and a small text model, made by `luban`; and their requests.

The table is scikit-learn's wine (178 rows, 13 numbers, three classes) with a linear model, whose graph a peer can
feed by hand. The text model is a transformer of two layers from scratch over the demo's Chinese reviews, taught for
a few steps only: what it answers does not matter here, what it costs does. Both are released, the latter by force, so
that the server knows what their training rows were like. They are kept where benchmarks keep things, and made again
where code has changed."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers import place
from benchmarks.projects import FORCED, luban, made, released
from luban.bundle.bundle import Bundle
from luban.features.number import NumberVector

TABLE = """
name: wine
owner: benchmarks
purpose: Tell three sorts of wine apart.
data: {source: {kind: csv, path: wine.csv}, target: sort}
train: {models: [linear], time_budget_s: 20}
"""
TEXT_SETTINGS = [
    'train.models=[{"kind": "neural", "tower": {"kind": "transformer"}, "recipe": {"max_steps": 20}}]',
    "train.refit=false",
    "train.learning_curve=false",
    "explain={methods: []}",
    "prepare.steps=[unicode, missing, duplicates]",
]


@dataclass(frozen=True)
class Model:
    """A bundle's folder, rows to ask it, and a folder for files of requests."""

    bundle: Path
    rows: list[dict[str, Any]]
    folder: Path

    def bodies(self, rows_each: int = 1, most: int = 500) -> Path:
        """A file of requests' bodies, one a line, of so many rows each."""
        path = self.folder / f"bodies-{rows_each}.txt"
        starts = range(0, len(self.rows) * rows_each, rows_each)
        bodies = [[self.rows[(start + n) % len(self.rows)] for n in range(rows_each)] for start in starts]
        lines = [json.dumps({"rows": rows}, ensure_ascii=False) for rows in bodies[:most]]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path


def table() -> Model:
    """The table model; beside its requests lie `model.onnx` and `facts.json` for peers."""
    folder = place() / "serve-wine"
    folder.mkdir(parents=True, exist_ok=True)
    _write_wine(folder / "wine.csv")
    (folder / "luban.yaml").write_text(TABLE, "utf-8")
    bundle = released(folder)
    loaded = Bundle.load(bundle)
    _write_facts(loaded, folder)
    shutil.copy(bundle / "stages" / "model.onnx", folder)
    with (folder / "wine.csv").open(newline="") as file:
        rows = [{name: float(value) for name, value in row.items() if name != "sort"} for row in csv.DictReader(file)]
    return Model(bundle, rows, folder)


def text(quick: bool) -> Model:
    """The text model; texts are of very different lengths."""
    folder = place() / "serve-text"
    if not (folder / "luban.yaml").exists():
        luban("init", folder, "--template", "chinese-reviews")
    bundle = released(folder, TEXT_SETTINGS, "--force", FORCED)
    rows = [{"text": row["text"]} for row in made(folder, "train", TEXT_SETTINGS).rows("test")]
    return Model(bundle, rows[: 200 if quick else 2000], folder)


def _write_wine(path: Path) -> None:
    from sklearn.datasets import load_wine

    found = load_wine()
    names = [name.replace("/", "_") for name in found.feature_names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "sort"])
        writer.writerows([*map(float, row), "abc"[sort]] for row, sort in zip(found.data, found.target, strict=True))


def _write_facts(bundle: Bundle, folder: Path) -> None:
    """What a peer needs to feed the graph by hand."""
    encoders: Iterable[NumberVector] = [one for _, one in bundle.encoders if isinstance(one, NumberVector)]
    decoding = bundle.manifest.task.decoding
    facts = {
        "columns": [column for column, _ in bundle.encoders],
        "inputs": [block.part("value") for block in bundle.blocks],
        "mean": [one.mean for one in encoders],
        "scale": [one.scale for one in encoders],
        "classes": decoding["classes"],
        "temperature": decoding["temperature"],
    }
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
