"""A trained folder whose bundle is a network made by hand: wide layers of fixed noise, a last layer fitted on top."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.bundle.graph import GraphBuilder
from luban.bundle.write import with_graph
from luban.models.products import double, single
from luban.project import load_project
from luban.train.encode import TrainData
from luban.workshop import Workshop

PROJECT = """\
name: parts
owner: line-team
purpose: Find bad parts.
data:
  source: rows.csv
  target: bad
prepare: {split: {valid: 0.2, test: 0.2}}
train: {models: [linear], num_threads: 1}
evaluate: {num_resamples: 200}
"""
COLUMNS = 8
SURE = {"value": 0.4, "low": 0.38, "high": 0.42}
FAST = {"p50_ms": [1.0, 0.4], "p95_ms": [1.2, 0.5], "row": SURE, "batch": {**SURE, "rows": 64, "ms": [9.0, 3.6]}}
"""What a clock might say of a network that became faster."""


@dataclass(frozen=True)
class Made:
    """A folder as `train` leaves it, and the data that it stands on."""

    folder: Path
    data: TrainData

    @property
    def bundle(self) -> Bundle:
        """Its bundle."""
        return Bundle.load(self.folder / "bundle")


def write_project(folder: Path, rows: int = 500) -> None:
    """Eight numbers a row; a part is bad if two of them together are large."""
    chance = random.Random(4)
    names = [f"m{number}" for number in range(COLUMNS)]
    lines = [",".join([*names, "bad"])]
    for _ in range(rows):
        found = [chance.gauss(0, 1) for _ in names]
        bad = found[0] + found[1] + chance.gauss(0, 0.3) > 0
        lines.append(",".join([*(f"{value:.4f}" for value in found), "yes" if bad else "no"]))
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "luban.yaml").write_text(PROJECT, "utf-8")


def linear(folder: Path) -> Made:
    """The folder of a linear model, as `train` leaves it."""
    write_project(folder)
    project, where = load_project(folder)
    with Workshop.open(project, where).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.train(shop, dataset)
    return Made(trained.folder, TrainData(dataset, Bundle.load(trained.bundle).task, 0))


def network(made: Made, folder: Path, width: int = 256, in_double: bool = False, shuffled: bool = False) -> Made:
    """The same folder with a network in the bundle: three layers of fixed noise, the last layer by least squares.

    `in_double`: its sums run in double precision, as those of neural models do. `shuffled`: it learnt the targets of
    other rows.
    """
    bundle, rng = made.bundle, np.random.default_rng(2)
    blocks = sorted(bundle.blocks, key=lambda block: block.name)
    layers = [rng.normal(size=(sum(b.size for b in blocks), width)) * 0.5]
    layers += [rng.normal(size=(width, width)) * (2 / width) ** 0.5 for _ in range(2)]
    layers = [layer.astype(np.float32) for layer in layers]

    def build(last: np.ndarray) -> bytes:
        graph = GraphBuilder()
        wide = (lambda tensor: double(graph, tensor)) if in_double else (lambda tensor: tensor)
        x = wide(graph.node("Concat", [graph.take(block, "value") for block in blocks], axis=1))
        for layer in layers:
            x = graph.node("Relu", [graph.node("MatMul", [x, wide(graph.constant(layer))])])
        x = graph.node("MatMul", [x, wide(graph.constant(last.astype(np.float32)))])
        built = graph.build(single(graph, x), 1)
        return bytes(built.SerializeToString(deterministic=True))

    arrays = made.data.arrays(bundle.encoders, "train")
    x = np.concatenate([arrays[block.part("value")] for block in blocks], axis=1)
    for layer in layers:
        x = np.maximum(x @ layer, 0)
    y = made.data.y("train")
    sign = 8 * ((rng.permutation(y) if shuffled else y) - 0.5)
    last = np.linalg.solve(x.T @ x + 10 * np.eye(width), x.T @ sign)[:, None]
    folder.mkdir()
    for name in ("training.json", "checkpoint.safetensors", "decisions.json"):
        shutil.copyfile(made.folder / name, folder / name)
    (folder / "bundle").mkdir()
    with_graph(made.folder / "bundle", folder / "bundle", build(last))
    outputs = load_file(made.folder / "outputs.safetensors")
    loaded = Bundle.load(folder / "bundle")
    test = loaded.run(made.data.arrays(loaded.encoders, "test"))
    outputs["model"] = np.ascontiguousarray(test, np.float64)
    (folder / "outputs.safetensors").write_bytes(save(outputs))
    return Made(folder, made.data)
