"""Made-up arrays of every kind that tabular and text families read, and how graphs are run."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime

from luban.bundle.graph import GraphBuilder
from luban.features.kinds import Arrays, Block, pad, take
from luban.models.base import FitContext, Fitted
from luban.models.baseline import constant
from luban.tasks.base import Head

BAG = Block("text/bag/aa", "bag", "text", 50)
INDEX = Block("city/index/bb", "index", "city", 8)
VECTOR = Block("age/vector/cc", "vector", "age", 3)
BLOCKS = (BAG, INDEX, VECTOR)
HEADS = {"binary": Head("binary", 1), "softmax": Head("softmax", 3), "real": Head("real", 1)}


def arrays(rows: int = 200, seed: int = 0, nan: bool = False) -> Arrays:
    """Rows of BAG, INDEX and VECTOR; the first row's bag is empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 30, rows)
    lengths[0] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    value = rng.normal(size=(rows, 3)).astype(np.float32)
    if nan:
        value[rng.random((rows, 3)) < 0.2] = np.nan
    made = {
        BAG.part("ids"): rng.integers(1, BAG.size, offsets[-1]),
        BAG.part("weights"): rng.random(offsets[-1]).astype(np.float32),
        BAG.part("offsets"): offsets,
        INDEX.part("value"): rng.integers(0, INDEX.size, rows),
        VECTOR.part("value"): value,
    }
    return made | {block.part("present"): np.ones(rows, bool) for block in BLOCKS}


def target(made: Arrays, kind: str, seed: int = 1) -> np.ndarray:
    """A y of head `kind` that depends on all blocks, with noise."""
    rng = np.random.default_rng(seed)
    offsets = made[BAG.part("offsets")]
    half = np.where(made[BAG.part("ids")] < 25, 1.0, -1.0) * made[BAG.part("weights")]
    text = np.array([half[a:b].sum() for a, b in itertools.pairwise(offsets)])
    value = np.nan_to_num(made[VECTOR.part("value")])
    z = text + 2 * value[:, 0] - value[:, 1] * value[:, 2] + (made[INDEX.part("value")] - 4) * 0.7
    z = (z + rng.normal(size=len(z)) * 0.3) / 3
    if kind == "binary":
        return (z > 0).astype(np.float32)
    if kind == "softmax":
        return np.digitize(z, [-0.5, 0.5]).astype(np.int64)
    return z.astype(np.float32)


def loss(head: Head):
    """Mean log loss, or mean squared error."""

    def of(outputs: np.ndarray, y: np.ndarray) -> float:
        if head.kind == "binary":
            return float(np.mean(np.logaddexp(0, outputs[:, 0]) - y * outputs[:, 0]))
        if head.kind == "softmax":
            z = outputs - outputs.max(axis=1, keepdims=True)
            return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]))
        return float(np.mean((outputs[:, 0] - y) ** 2))

    return of


def context(kind: str, blocks: tuple[Block, ...] = BLOCKS, **changed: object) -> FitContext:
    """A fit context with validation rows of its own."""
    valid = arrays(120, seed=7, nan=bool(changed.pop("nan", False)))
    settings = {
        "head": HEADS[kind],
        "blocks": blocks,
        "valid": valid,
        "y_valid": target(valid, kind, seed=8),
        "seed": 0,
        "num_threads": 2,
        "loss": loss(HEADS[kind]),
        "decide": lambda key, make: make(),
    }
    return FitContext(**(settings | changed))  # type: ignore[arg-type]


def built(model: Fitted, width: int) -> onnx.ModelProto:
    """The model as an ONNX graph of its own."""
    graph = GraphBuilder()
    return graph.build(model.export(graph), width)


def run(model: onnx.ModelProto, made: Arrays, extra_padding: int = 0) -> np.ndarray:
    """The graph's answer for bulk arrays, lists padded further by `extra_padding`."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {i.name: pad(made)[i.name] for i in session.get_inputs()}
    for name in feeds:
        if name.endswith((".ids", ".weights", ".mask")):
            feeds[name] = np.pad(feeds[name], ((0, 0), (0, extra_padding)))
    return session.run(None, feeds)[0]


def alone(model: onnx.ModelProto, made: Arrays, rows: int) -> np.ndarray:
    """The graph's answers for the first rows, each asked alone."""
    return np.concatenate([run(model, take(made, np.array([row]))) for row in range(rows)])


def loss_ratio(model: Fitted, kind: str, made: Arrays, y: np.ndarray) -> float:
    """The model's loss over the best constant's."""
    of = loss(HEADS[kind])
    return of(model.predict(made), y) / of(np.tile(constant(y, HEADS[kind]), (len(y), 1)), y)
