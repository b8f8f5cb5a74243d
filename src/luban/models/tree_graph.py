"""LightGBM's trees as one ONNX node: ai.onnx.ml TreeEnsembleRegressor, summed in double precision.

Decided here, each measured or read in LightGBM's `NumericalDecision`:

- inputs are float32, so a threshold is rounded *down* to float32: x <= t is then the same question;
- where a split's `missing_type` is NaN, a missing value goes `default_left`; where it is None, LightGBM
  reads it as 0 (and |x| <= 1e-35 always), so it goes where 0 goes; both become `nodes_missing_value_tracks_true`;
- the input is cast to double and the nodes hold doubles: in float32 the sum over trees depends on how
  many rows are asked at once, as onnxruntime then splits the work otherwise (measured with 500 trees:
  5e-6), in double it does not, and is no slower.

It knows splits `<=` on numbers only: categorical splits and `zero_as_missing` are never asked of
LightGBM here, and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

_DOUBLE = 11  # onnx.TensorProto.DOUBLE
_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold
_INFINITE = 1e300


def float32_below(threshold: float) -> float:
    """The largest float32 that is not above `threshold`.

    >>> float32_below(0.1) < 0.1
    True
    """
    with np.errstate(over="ignore"):
        near = np.float32(threshold)
        return float(np.nextafter(near, np.float32(-np.inf)) if float(near) > threshold else near)


def threshold_of(threshold: float) -> float:
    """The float32 t for which x <= t says what LightGBM says of a float32 x.

    LightGBM reads all |x| <= 1e-35 as 0, so a threshold within is moved to that range's edge; and it
    reads infinity as 1e300, so the split "all that is there" keeps infinity with the rest.
    """
    if threshold >= _INFINITE:
        return float("inf")
    if abs(threshold) > _ZERO:
        return float32_below(threshold)
    return _ZERO if threshold >= 0 else float(np.nextafter(np.float32(-_ZERO), np.float32(-1)))


@dataclass
class TreeNodes:
    """All nodes of all trees, in columns; `left` and `right` number nodes within a tree."""

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    leaf: list[bool] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    missing_left: list[bool] = field(default_factory=list)
    output: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, dump: Mapping[str, Any], num_outputs: int) -> TreeNodes:
        """From `Booster.dump_model()`: tree i adds to output i modulo `num_outputs`."""
        nodes = cls()
        for number, tree in enumerate(dump["tree_info"]):
            nodes._add_tree(number, tree["tree_structure"], number % num_outputs)
        return nodes

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns as arrays, by name."""
        return {name: np.array(column) for name, column in vars(self).items()}

    def _add_tree(self, number: int, root: Mapping[str, Any], output: int) -> None:
        # Depth first with an explicit stack: a tree of 1,000 leaves may be deeper than Python's.
        stack: list[tuple[Mapping[str, Any], int, str]] = [(root, -1, "")]
        within = 0
        start = len(self.tree)
        while stack:
            found, parent, side = stack.pop()
            if parent >= 0:
                (self.left if side == "left" else self.right)[start + parent] = within
            self._add_node(number, within, found, output)
            if "leaf_value" not in found:
                stack += [(found["right_child"], within, "right"), (found["left_child"], within, "left")]
            within += 1

    def _add_node(self, tree: int, node: int, found: Mapping[str, Any], output: int) -> None:
        leaf = "leaf_value" in found
        threshold = 0.0 if leaf else threshold_of(float(found["threshold"]))
        missing_left = False
        if not leaf:
            assert found["decision_type"] == "<=", found["decision_type"]
            assert found["missing_type"] in ("None", "NaN"), found["missing_type"]
            missing_left = found["default_left"] if found["missing_type"] == "NaN" else threshold >= 0
        self.tree.append(tree)
        self.node.append(node)
        self.feature.append(0 if leaf else int(found["split_feature"]))
        self.threshold.append(threshold)
        self.leaf.append(leaf)
        self.left.append(0)
        self.right.append(0)
        self.missing_left.append(bool(missing_left))
        self.output.append(output)
        self.value.append(float(found["leaf_value"]) if leaf else 0.0)


def ensemble(graph: GraphBuilder, inputs: Sequence[str], trees: Mapping[str, np.ndarray], num_outputs: int) -> str:
    """The sum of all trees over the given [B, D] tensors side by side: a tensor [B, n] float32."""
    x = graph.node("Concat", list(inputs), axis=1) if len(inputs) > 1 else inputs[0]
    return graph.node(
        "TreeEnsembleRegressor",
        [graph.node("Cast", [x], to=_DOUBLE)],
        domain="ai.onnx.ml",
        n_targets=num_outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        **dict(_attributes(trees)),
    )


def _attributes(trees: Mapping[str, np.ndarray]) -> Iterator[tuple[str, Any]]:
    from onnx import helper

    leaf = trees["leaf"]
    yield "nodes_treeids", trees["tree"].tolist()
    yield "nodes_nodeids", trees["node"].tolist()
    yield "nodes_featureids", trees["feature"].tolist()
    yield "nodes_modes", ["LEAF" if one else "BRANCH_LEQ" for one in leaf]
    yield "nodes_truenodeids", trees["left"].tolist()
    yield "nodes_falsenodeids", trees["right"].tolist()
    yield "nodes_missing_value_tracks_true", trees["missing_left"].astype(int).tolist()
    yield "nodes_values_as_tensor", helper.make_tensor("", _DOUBLE, [len(leaf)], trees["threshold"].tolist())
    yield "target_treeids", trees["tree"][leaf].tolist()
    yield "target_nodeids", trees["node"][leaf].tolist()
    yield "target_ids", trees["output"][leaf].tolist()
    yield "target_weights_as_tensor", helper.make_tensor("", _DOUBLE, [int(leaf.sum())], trees["value"][leaf].tolist())
