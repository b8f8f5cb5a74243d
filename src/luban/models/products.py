"""A block times a table of weights: the one operation that linear models and SVD are made of.

`design` is the block as a matrix [B, size] for training; `product` the same times a table [size, n],
in a graph. Decided here: sums run in double precision, in both: an answer then does not depend on how
far a batch is padded nor on what stands beside it, and a tree that asks x <= t of a product is asked
with the same float32 number in training and in the graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from luban.catalog import need
from luban.features.kinds import Arrays, Block

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto.FLOAT and DOUBLE


def design(arrays: Arrays, block: Block) -> Any:
    """A block's bulk arrays as a double matrix [B, size]: scipy CSR for bags and indices, dense for vectors."""
    if block.kind == "vector":
        return arrays[block.part("value")].astype(np.float64)
    sparse = need("scipy.sparse", "train")
    if block.kind == "index":
        ids = arrays[block.part("value")]
        parts = np.ones(len(ids)), ids, np.arange(len(ids) + 1)
    else:
        weights, ids, offsets = (arrays[block.part(part)] for part in ("weights", "ids", "offsets"))
        parts = weights.astype(np.float64), ids, offsets
    return sparse.csr_matrix(parts, shape=(len(parts[2]) - 1, block.size))


def product(graph: GraphBuilder, block: Block, table: np.ndarray) -> str:
    """The block times a float32 `table` [size, n]: a tensor [B, n], double."""
    constant = graph.constant(table)
    if block.kind == "index":
        return double(graph, graph.node("Gather", [constant, graph.take(block, "value")]))
    if block.kind == "vector":
        return graph.node("MatMul", [double(graph, graph.take(block, "value")), double(graph, constant)])
    axis = graph.constant(np.array([1]))
    found_bln = double(graph, graph.node("Gather", [constant, graph.take(block, "ids")]))
    row_b1l = graph.node("Unsqueeze", [double(graph, graph.take(block, "weights")), axis])
    return graph.node("Squeeze", [graph.node("MatMul", [row_b1l, found_bln]), axis])


def double(graph: GraphBuilder, tensor: str) -> str:
    """The tensor, cast to double."""
    return graph.node("Cast", [tensor], to=_DOUBLE)


def single(graph: GraphBuilder, tensor: str) -> str:
    """The tensor, cast to float32."""
    return graph.node("Cast", [tensor], to=_FLOAT)
