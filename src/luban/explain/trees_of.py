"""Reads the ensemble of trees in a bundle's graph: its nodes, and which column each of its inputs is of.

Decided here: a graph counts as trees alone if all that its output depends on goes through one TreeEnsembleRegressor
node. An input that is a graph input as it is has its column's own unit; one that a converter made is named after
its column and says so. Knows `ai.onnx.ml` and nothing of the library that grew the trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.explain.random_model import graph_files
from luban.features.kinds import Block

NODE = "TreeEnsembleRegressor"


@dataclass(frozen=True)
class Input:
    """One input of the trees: its column, its name, and whether a converter made it."""

    column: str
    name: str
    converted: bool


@dataclass(frozen=True, eq=False)
class Trees:
    """Nodes [N] in columns, tree by tree; `left` and `right` are positions in these arrays, -1 at leaves.

    `target` and `weight` [N]: the output that a leaf adds to, and how much. `graph` is the bundle's graph cut off
    before the trees: its output are their inputs [B, D].
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    inputs: tuple[Input, ...]
    graph: bytes


def trees_of(bundle: Bundle) -> Trees | str:
    """The trees of a bundle, or why it has none that say all."""
    import onnx

    files = graph_files(bundle)
    if files is None or len(files) != 1:
        return "it has no ONNX graph to read: load it from its folder"
    model = onnx.load_model_from_string(next(iter(files.values())))
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    nodes = [node for node in graph.node if node.op_type == NODE]
    if len(nodes) != 1:
        return "its graph is no ensemble of trees" if not nodes else "its graph has several ensembles of trees"
    given = {value.name for value in graph.input}
    if _reaches(graph.output[0].name, makers, given, nodes[0]):
        return "its graph does more than walk through trees"
    widths = {block.part("value"): block for block in bundle.blocks}
    return _read(nodes[0], model, makers, widths)


def _reaches(name: str, makers: dict[str, Any], given: set[str], stop: Any) -> bool:
    """Whether a tensor depends on a graph input by a way that does not lead through `stop`."""
    stack, seen = [name], set()
    while stack:
        name = stack.pop()
        if name in given:
            return True
        node = makers.get(name)
        if node is None or node is stop or name in seen:
            continue
        seen.add(name)
        stack += [inner for inner in node.input if inner]
    return False


def _read(node: Any, model: Any, makers: dict[str, Any], blocks: dict[str, Block]) -> Trees:
    from onnx import helper, numpy_helper

    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}

    def numbers(name: str) -> np.ndarray:
        tensor = found.get(f"{name}_as_tensor")
        return np.asarray(found[name] if tensor is None else numpy_helper.to_array(tensor), np.float64)

    keys = list(zip(found["nodes_treeids"], found["nodes_nodeids"], strict=True))
    at = {key: position for position, key in enumerate(keys)}
    leaf = np.array([mode == b"LEAF" for mode in found["nodes_modes"]])
    sides = []
    for side in ("nodes_truenodeids", "nodes_falsenodeids"):
        there = [at[(tree, to)] for (tree, _), to in zip(keys, found[side], strict=True)]
        sides.append(np.where(leaf, -1, there))
    target, weight = np.zeros(len(keys), np.int64), np.zeros(len(keys))
    leaves = [at[key] for key in zip(found["target_treeids"], found["target_nodeids"], strict=True)]
    target[leaves], weight[leaves] = found["target_ids"], numbers("target_weights")
    children = {child for side in sides for child in side.tolist()}
    missing = found.get("nodes_missing_value_tracks_true") or [0] * len(keys)
    return Trees(
        roots=np.array([position for position in range(len(keys)) if position not in children]),
        feature=np.array(found["nodes_featureids"]),
        threshold=numbers("nodes_values"),
        left=sides[0],
        right=sides[1],
        missing_left=np.array(missing, bool),
        target=target,
        weight=weight,
        inputs=_inputs(node.input[0], model, makers, blocks),
        graph=_cut_off(model, node.input[0]),
    )


def _inputs(name: str, model: Any, makers: dict[str, Any], blocks: dict[str, Block]) -> tuple[Input, ...]:
    """What each column of a tensor [B, D] is."""
    node = makers.get(name)
    if node is not None and node.op_type in ("Cast", "Identity"):
        return _inputs(node.input[0], model, makers, blocks)
    if node is not None and node.op_type == "Concat":
        return tuple(one for inner in node.input for one in _inputs(inner, model, makers, blocks))
    if name in blocks:
        block = blocks[name]
        names = [block.column] if block.size == 1 else [f"{block.column}[{i + 1}]" for i in range(block.size)]
        return tuple(Input(block.column, one, False) for one in names)
    column = _column_of(name, model, makers)
    return tuple(Input(column, f"{column} ({i + 1})", True) for i in range(_width(model, name)))


def _column_of(name: str, model: Any, makers: dict[str, Any]) -> str:
    """The column that a converted tensor was made from."""
    given = {value.name for value in model.graph.input}
    stack = [name]
    while stack:
        name = stack.pop()
        if name in given:
            return str(name).split("/")[0]
        if name in makers:
            stack += [inner for inner in makers[name].input if inner]
    return ""


def _width(model: Any, name: str) -> int:
    """Columns of a tensor inside a graph, by ONNX's own inference of shapes."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for value in inferred.graph.value_info:
        if value.name == name:
            return int(value.type.tensor_type.shape.dim[1].dim_value)
    return 0


def _cut_off(model: Any, name: str) -> bytes:
    """The graph up to a tensor, which becomes its one output."""
    from onnx import ModelProto, TensorProto, helper

    cut = ModelProto()
    cut.CopyFrom(model)
    needed, nodes = {name}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend(reversed(nodes))
    cut.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))
    return bytes(cut.SerializeToString())
