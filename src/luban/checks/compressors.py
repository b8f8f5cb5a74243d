"""Checks of compressors: what they give is a graph that the audit and the builder accept, and answers row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from luban.bundle.graph import GraphBuilder
from luban.bundle.manifest import StageSpec
from luban.bundle.runtimes.onnx import OnnxRuntime
from luban.checks.families import answered
from luban.compress.base import CompressContext, Compressor
from luban.features.kinds import Arrays, Block, take
from luban.models.base import Refusal

ROWS, WIDTH, CLASSES = 96, 64, 3
NUMBERS = Block("n/vector/00", "vector", "n", WIDTH)
WORDS = Block("w/bag/00", "bag", "w", 5000)


def made_rows() -> Arrays:
    """Rows of numbers and of lists; one row has numbers fifty times as large as the others."""
    rng = np.random.default_rng(5)
    value = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
    value[7] *= 50
    lengths = rng.integers(1, 9, ROWS)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    present = np.ones(ROWS, bool)
    return {
        NUMBERS.part("value"): value,
        NUMBERS.part("present"): present,
        WORDS.part("ids"): rng.integers(1, WORDS.size, offsets[-1]),
        WORDS.part("weights"): rng.random(offsets[-1]).astype(np.float32),
        WORDS.part("offsets"): offsets,
        WORDS.part("present"): present,
    }


def made_graph() -> bytes:
    """A network that has what methods compress: products with weights, and a table that is looked up."""
    rng = np.random.default_rng(6)
    graph = GraphBuilder()
    table = graph.constant(rng.normal(size=(WORDS.size, WIDTH)).astype(np.float32))
    found = graph.node("Gather", [table, graph.take(WORDS, "ids")])
    weights = graph.node("Unsqueeze", [graph.take(WORDS, "weights"), graph.constant(np.array([1]))])
    bag = graph.node("Squeeze", [graph.node("MatMul", [weights, found]), graph.constant(np.array([1]))])
    x = graph.node("Concat", [graph.take(NUMBERS, "value"), bag], axis=1)
    for size in (2 * WIDTH, WIDTH):
        layer = graph.constant(rng.normal(size=(2 * WIDTH, size)).astype(np.float32) / np.float32(WIDTH**0.5))
        x = graph.node("Relu", [graph.node("MatMul", [x, layer])])
    last = graph.constant(rng.normal(size=(WIDTH, CLASSES)).astype(np.float32) / np.float32(WIDTH**0.5))
    model = graph.build(graph.node("MatMul", [x, last]), CLASSES)
    return bytes(model.SerializeToString(deterministic=True))


def _compressed(component: Any) -> tuple[bytes, bytes, Arrays]:
    method: Compressor = component()
    graph, rows = made_graph(), made_rows()
    assert method.supports(onnx.load_model_from_string(graph)) is None, "it must support the made network"
    found = method.compress(graph, CompressContext(CLASSES, take(rows, np.arange(8, 72))))
    assert not isinstance(found, Refusal), found
    return graph, found, rows


def is_smaller(component: Any) -> None:
    """The graph has fewer bytes."""
    graph, found, _ = _compressed(component)
    assert len(found) < len(graph)


def passes_the_audit(component: Any) -> None:
    """Inputs and output as before, operators that the audit allows, a form that `absorb` takes."""
    graph, found, _ = _compressed(component)
    takes = tuple(value.name for value in onnx.load_model_from_string(graph).graph.input)
    stage = StageSpec(name="model", runtime="onnx", files=("f",), takes=takes, gives=("head",))
    assert OnnxRuntime().audit(stage, {"f": found}) is None
    builder = GraphBuilder()
    again = builder.build(builder.absorb(onnx.load_model_from_string(found)), CLASSES)
    assert again.SerializeToString(deterministic=True) == found


def answers_alike(component: Any) -> None:
    """Nine in ten labels stay, and outputs follow the original's closely."""
    graph, found, rows = _compressed(component)
    before, after = answered(graph, rows), answered(found, rows)
    assert after.shape == before.shape
    assert np.isfinite(after).all()
    assert (before.argmax(1) == after.argmax(1)).mean() >= 0.9
    usual = np.delete(np.arange(ROWS), 7)
    assert np.corrcoef(before[usual].ravel(), after[usual].ravel())[0, 1] >= 0.99


def answers_ignore_neighbours(component: Any) -> None:
    """A row has the same label alone and beside an outlier."""
    _, found, rows = _compressed(component)
    together = answered(found, rows)
    for row in range(0, ROWS, 5):
        alone = answered(found, take(rows, np.array([row])))
        assert alone[0].argmax() == together[row].argmax()


def is_repeatable(component: Any) -> None:
    """The same graph and rows give the same bytes."""
    assert _compressed(component)[1] == _compressed(component)[1]


def refuses_what_has_nothing_to_compress(component: Any) -> None:
    """A graph without weights is refused with a sentence."""
    graph = GraphBuilder()
    model = graph.build(graph.node("Relu", [graph.take(NUMBERS, "value")]), WIDTH)
    reason = component().supports(model)
    assert reason, "there is nothing to compress in a graph without weights"


CHECKS = (
    is_smaller,
    passes_the_audit,
    answers_alike,
    answers_ignore_neighbours,
    is_repeatable,
    refuses_what_has_nothing_to_compress,
)
