"""The trivial family: answers the same for every row, whatever stands in it.

`constant` is the best model that looks at no input: log-odds, log priors or the mean. Counts are
smoothed by half a row a class, so that a class without rows stays possible. As a family it makes
the model that all others must beat, exported like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from luban.features.kinds import Arrays, BagConfig, Block, IndexConfig, VectorConfig, Want, num_rows
from luban.models.base import Family, FitContext, Fitted
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


def constant(y: np.ndarray, head: Head, weights: np.ndarray | None = None) -> np.ndarray:
    """The outputs [n] float32 of the best constant for y ([B] or [B, n]), before squashing; rows weigh alike, or [B].

    >>> constant(np.array([0, 0, 1, 1, 1, 1]), Head("softmax", 2))
    array([-1.0296195 , -0.44183275], dtype=float32)
    """
    if head.kind == "softmax":
        counts = np.bincount(y.astype(np.int64), weights, head.width) + 0.5
        return np.asarray(np.log(counts / counts.sum()), np.float32)
    y_bn = np.asarray(y, np.float64).reshape(len(y), -1)
    total = float(len(y_bn))
    if weights is not None:
        y_bn, total = y_bn * weights[:, None], float(weights.sum())
    if head.kind == "binary":
        ones = y_bn.sum(axis=0) + 0.5
        return np.asarray(np.log(ones / (total + 1 - ones)), np.float32)
    return np.asarray(y_bn.sum(axis=0) / total, np.float32)


class FittedConstant(Fitted):
    """One row of outputs for every row of inputs. `block` is only asked how many rows there are."""

    def __init__(self, outputs: np.ndarray, block: Block) -> None:
        super().__init__()
        self.outputs = outputs
        self.block = block

    def predict(self, arrays: Arrays) -> np.ndarray:
        """The constant, once a row: [B, n] float32."""
        return np.tile(self.outputs, (num_rows(arrays), 1))

    def export(self, graph: GraphBuilder) -> str:
        """The constant, expanded to the length of an input."""
        shape = graph.node("Shape", [graph.take(self.block, self.block.parts[0].rpartition(".")[2])], start=0, end=1)
        wide = graph.node("Concat", [shape, graph.constant(np.array([len(self.outputs)]))], axis=0)
        return graph.node("Expand", [graph.constant(self.outputs[None]), wide])

    def checkpoint(self) -> dict[str, np.ndarray]:
        """`outputs` [n]."""
        return {"outputs": self.outputs}


class Baseline(Family):
    """The best constant. Takes whatever is cheapest to make, and does not look at it."""

    heads: ClassVar[tuple[str, ...]] = ("binary", "softmax", "real")
    weighs: ClassVar[bool] = True

    def wants(self, head: Head) -> Sequence[Want]:
        """Anything that has a length."""
        return (
            Want("vector", VectorConfig(scale="none")),
            Want("index", IndexConfig(max_values=1)),
            Want("bag", BagConfig(ngram_min=1, ngram_max=1, max_terms=1, max_characters=1)),
        )

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """The constant for y."""
        return FittedConstant(constant(y, context.head, context.weights), context.blocks[0])
