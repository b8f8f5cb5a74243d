"""Builds the one ONNX graph of a model: inputs by block, constants, nodes, merged members.

Decided here: opset 18 and ai.onnx.ml 3, IR version 9, so that older runtimes open it; names of
constants and tensors are counted, so that the same calls give the same bytes. It knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from luban.features.kinds import Block

OPSET, ML_OPSET, IR_VERSION = 18, 3, 9

_DTYPES = {
    "ids": TensorProto.INT64,
    "weights": TensorProto.FLOAT,
    "mask": TensorProto.BOOL,
    "value": TensorProto.FLOAT,
}


class GraphBuilder:
    """One graph under construction.

    >>> graph = GraphBuilder()
    >>> x = graph.take(Block("age/vector/00", "vector", "age", 1), "value")
    >>> y = graph.node("Mul", [x, graph.constant(np.float32(2))])
    >>> [i.name for i in graph.build(y).graph.input]
    ['age/vector/00.value']
    """

    def __init__(self) -> None:
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._given: dict[str, str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._count = 0

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def take(self, block: Block, part: str) -> str:
        """The tensor of one part of a block: a graph input, or what a converter gave for it."""
        name = block.part(part)
        if name in self._given:
            return self._given[name]
        if name not in self._inputs:
            dtype: int
            shape: list[str | int]
            if block.kind == "index":
                dtype, shape = TensorProto.INT64, ["rows"]
            elif block.kind == "vector":
                dtype, shape = TensorProto.FLOAT, ["rows", block.size]
            else:
                dtype, shape = _DTYPES[part], ["rows", f"length of {block.name}"]
            self._inputs[name] = helper.make_tensor_value_info(name, dtype, shape)
        return name

    def give(self, block: Block, part: str, tensor: str) -> None:
        """Let a tensor of this graph stand for a block's part (what a converter makes)."""
        self._given[block.part(part)] = tensor

    def constant(self, array: np.ndarray | np.generic, hint: str = "c") -> str:
        """A constant; float64 becomes float32."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._name(hint)
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """One node with one output; returns the output's name."""
        output = self._name(op.lower())
        self._nodes.append(helper.make_node(op, list(inputs), [output], name=output, domain=domain, **attributes))
        return output

    def build(self, output: str, width: int | None = None) -> onnx.ModelProto:
        """The finished model; its one output is called `head`, [rows, width] float32."""
        final = helper.make_node("Identity", [output], ["head"], name="head")
        head = helper.make_tensor_value_info("head", TensorProto.FLOAT, ["rows", width or "outputs"])
        graph = helper.make_graph(
            [*self._nodes, final], "luban", list(self._inputs.values()), [head], initializer=self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="luban")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model
