"""Tables of embeddings in eight bits: looked up first, floats again after.

Decided here: a row of 16 values and more has a scale of its own, narrower tables one a column, so that
scales never cost more than is saved; 0 stays 0. Rounds nothing but weights, so answers stay exact in
every other way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MIN_ROW = 16
"""Values of a row from which it has its own scale."""


def tables_in(graph: Any, min_values: int) -> list[str]:
    """Names of float32 constants [size, n] of at least `min_values` values that are only looked up by row."""
    from onnx import TensorProto

    large = {
        tensor.name
        for tensor in graph.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2 and int(np.prod(tensor.dims)) >= min_values
    }
    other = {name for node in graph.graph.node for name in node.input if not _is_lookup(node, name)}
    return sorted(large - other)


def _is_lookup(node: Any, name: str) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and axis == 0 and node.input[0] == name and node.input[1] != name


def rounded(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A table [size, n] in int8, and its scales: [size, 1] or, of narrow tables, [n].

    >>> values, scale = rounded(np.array([[-1.0], [0.5]], np.float32))
    >>> values.ravel().tolist(), round(float(scale[0]), 4)
    ([-127, 64], 0.0079)
    """
    by_row = table.shape[1] >= MIN_ROW
    largest = np.abs(table).max(axis=1 if by_row else 0, keepdims=by_row)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(table / scale), -127, 127).astype(np.int8), scale


def narrow_tables(model: Any, min_values: int) -> None:
    """Replace every large table of the `onnx.ModelProto` and its lookups, in place."""
    from onnx import helper, numpy_helper

    names = set(tables_in(model, min_values))
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    scales: dict[str, np.ndarray] = {}
    for tensor in model.graph.initializer:
        if tensor.name in names:
            values, scales[tensor.name] = rounded(numpy_helper.to_array(tensor))
            kept.append(numpy_helper.from_array(values, f"{tensor.name}:int8"))
            kept.append(numpy_helper.from_array(scales[tensor.name], f"{tensor.name}:scale"))
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Gather" and node.input[0] in names:
            nodes += _lookup(node, scales[node.input[0]], helper.make_node)
        else:
            nodes.append(node)
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)


def _lookup(node: Any, scale: np.ndarray, make: Any) -> list[Any]:
    """The nodes that stand for one lookup: int8 values, made floats by their scales."""
    table, ids, out = node.input[0], node.input[1], node.output[0]
    found = make("Gather", [f"{table}:int8", ids], [f"{out}:int8"], name=f"{out}:int8")
    if scale.ndim == 1:
        inputs = [f"{out}:int8", f"{table}:scale"]
        return [found, make("DequantizeLinear", inputs, [out], name=out, axis=-1)]
    return [
        found,
        make("Cast", [f"{out}:int8"], [f"{out}:float"], name=f"{out}:float", to=1),
        make("Gather", [f"{table}:scale", ids], [f"{out}:scale"], name=f"{out}:scale"),
        make("Mul", [f"{out}:float", f"{out}:scale"], [out], name=out),
    ]
