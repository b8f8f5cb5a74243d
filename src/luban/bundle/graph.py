"""Builds the one ONNX graph of a model: inputs by block, constants, nodes, absorbed graphs.

Decided here: opset 18 and ai.onnx.ml 3, IR version 9, so that older runtimes open it. Equal constants
are kept once. Names are given when the graph is built, in the order of first use, and what the
output does not need is left out: the same calls give the same bytes, and a model that went through
a file and `absorb` gives the bytes that its own `export` gives. It knows no family.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from luban.errors import BundleError
from luban.features.kinds import Block

OPSET, ML_OPSET, IR_VERSION = 18, 3, 9
HEAD = "head"
"""Name of a model's one output."""

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
        self._constants: dict[str, onnx.TensorProto] = {}
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

    def constant(self, array: np.ndarray | np.generic) -> str:
        """A constant; float64 becomes float32. Equal ones share a name."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        return self._keep(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape)))

    def _keep(self, tensor: onnx.TensorProto) -> str:
        plain = onnx.TensorProto()
        plain.CopyFrom(tensor)
        plain.name = ""
        name = "c:" + hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest()
        self._constants.setdefault(name, plain)
        return name

    def node(self, op: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        """One node with one output; returns the output's name."""
        output = self._name(op.lower())
        self._nodes.append(helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def absorb(self, model: onnx.ModelProto) -> str:
        """Merge a built model into this graph; returns the tensor that was its `head`.

        Inputs of one name are shared. Raises BundleError where it was not made by `build`.
        """
        _refuse_foreign(model)
        names = {"": ""}
        for value in model.graph.input:
            names[value.name] = self._given.get(value.name, value.name)
            if value.name not in self._given:
                self._inputs.setdefault(value.name, value)
        for tensor in model.graph.initializer:
            names[tensor.name] = self._keep(tensor)
        for node in model.graph.node[:-1]:
            fresh = onnx.NodeProto()
            fresh.CopyFrom(node)
            names.update({name: self._name(node.op_type.lower()) for name in node.output})
            fresh.name = ""
            fresh.input[:] = [names[name] for name in node.input]
            fresh.output[:] = [names[name] for name in node.output]
            self._nodes.append(fresh)
        return names[model.graph.node[-1].input[0]]

    def build(self, output: str, width: int | None = None) -> onnx.ModelProto:
        """The finished model; its one output is called `head`, [rows, width] float32."""
        nodes, constants, inputs, last = self._in_use(output)
        final = helper.make_node("Identity", [last], [HEAD], name=HEAD)
        head = helper.make_tensor_value_info(HEAD, TensorProto.FLOAT, ["rows", width or "outputs"])
        graph = helper.make_graph([*nodes, final], "luban", inputs, [head], initializer=constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="luban")
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model

    def _in_use(
        self, output: str
    ) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], list[onnx.ValueInfoProto], str]:
        """Nodes, constants and inputs that `output` needs under their final names, and its own."""
        needed, used = {output}, []
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                used.append(node)
        names: dict[str, str] = {"": ""}
        constants: list[onnx.TensorProto] = []
        inputs: list[onnx.ValueInfoProto] = []

        def final(name: str) -> str:
            if name in names:
                return names[name]
            names[name] = name
            if name in self._constants:
                names[name] = f"constant_{len(constants) + 1}"
                constants.append(onnx.TensorProto())
                constants[-1].CopyFrom(self._constants[name])
                constants[-1].name = names[name]
            else:
                inputs.append(self._inputs[name])
            return names[name]

        nodes: list[onnx.NodeProto] = []
        for node in reversed(used):
            renamed = onnx.NodeProto()
            renamed.CopyFrom(node)
            renamed.input[:] = [final(name) for name in node.input]
            for name in node.output:
                names[name] = f"{node.op_type.lower()}_{len(nodes) + 1}"
            renamed.output[:] = [names[name] for name in node.output]
            renamed.name = renamed.output[0]
            nodes.append(renamed)
        return nodes, constants, inputs, final(output)


def _refuse_foreign(model: onnx.ModelProto) -> None:
    """Raise BundleError for a model that `GraphBuilder.build` cannot have made."""
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    nodes = model.graph.node
    if opsets != {"": OPSET, "ai.onnx.ml": ML_OPSET}:
        raise BundleError(f"A graph to merge must have opset {OPSET} and ai.onnx.ml {ML_OPSET}, but got {opsets}.")
    if not nodes or list(nodes[-1].output) != [HEAD] or nodes[-1].op_type != "Identity":
        raise BundleError("A graph to merge must end in an Identity called `head`.", "Build it with GraphBuilder.")
    for node in nodes:
        if len(node.output) != 1 or any(a.type in (a.GRAPH, a.GRAPHS) for a in node.attribute):
            raise BundleError(f"A graph to merge must be flat, but `{node.op_type}` has several outputs or a body.")
