"""Weights and activations in eight bits, by ONNX Runtime's static quantisation.

Products with constant weights (MatMul, Gemm, Conv) are quantised with ranges of activations taken from
training rows (smallest and largest, Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"), one scale a column of the weights. Large tables of
embeddings are stored in eight bits, a scale a row (a column where rows are narrow), and are floats again
once looked up. Decided here:

- ranges are fixed when the graph is made, never taken from the batch at hand: with dynamic ranges one
  outlier changed the labels of its neighbours;
- weights take seven of the eight bits by default: processors without VNNI add two products in sixteen
  bits, which overflow with eight, and a bundle travels to machines that nobody here knows;
- results of products stay floats, only what goes in is rounded: as fast, and nearer to the original;
- where there are products to round, sums in double precision become single: they were double so that an answer
  moves by less than 1e-6 beside others, and rounding moves it more; a graph without them keeps its doubles.

It does not know whether the result is worth keeping.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from luban.compress.base import CompressContext, Compressor
from luban.compress.tables import narrow_tables, tables_in
from luban.features.calls import chunks
from luban.features.kinds import Arrays, pad, take
from luban.models.base import Refusal

MIN_WEIGHTS = 1024
"""Values of a product's weights below which rounding costs more than it saves."""
PRODUCTS = ("MatMul", "Gemm", "Conv")
FLOAT_RESULT = ("MatMul", "Gemm")


class Int8(Compressor):
    """Eight-bit integers in place of floats, with ranges fixed by training rows."""

    class Config(Compressor.Config):
        """How weights and activations are rounded."""

        reduced_range: bool = True
        """Use seven bits for weights, so that processors without VNNI instructions do not overflow. False is a
        little more exact, and wrong on such processors."""
        min_table_values: int = Field(250_000, ge=1)
        """Tables of embeddings with fewer values than this stay as they are; 250,000 are 1 MB."""

    def supports(self, graph: Any) -> str | None:
        """Whether it has a product with float weights, or a large table."""
        if products_in(in_single(graph)) or tables_in(graph, self.config.min_table_values):
            return None
        return (
            f"the graph has no product with at least {MIN_WEIGHTS:,} float weights and no table of at least "
            f"{self.config.min_table_values:,} values"
        )

    def compress(self, graph: bytes, context: CompressContext) -> bytes | Refusal:
        """Round tables, then products; a graph that ONNX Runtime cannot quantise is refused with its reason."""
        import onnx

        from luban.bundle.graph import GraphBuilder

        model = onnx.load_model_from_string(graph)
        single = in_single(model)
        names = products_in(single)
        model = single if names else model
        try:
            narrow_tables(model, self.config.min_table_values)
            if names:
                model = _quantised(model, names, context.calibration, self.config.reduced_range)
            builder = GraphBuilder()
            built = builder.build(builder.absorb(model), context.width)
        except Exception as error:  # the quantiser raises whatever it meets; the reason is recorded and shown
            return Refusal(f"it cannot be quantised: {type(error).__name__}: {_first_line(error)}")
        return bytes(built.SerializeToString(deterministic=True))


def in_single(model: Any) -> Any:
    """The `onnx.ModelProto` with every cast to double made one to single, and casts of constants left out."""
    import onnx

    found = onnx.ModelProto()
    found.CopyFrom(model)
    floats = {tensor.name for tensor in found.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    instead: dict[str, str] = {}
    kept = []
    for node in found.graph.node:
        node.input[:] = [instead.get(name, name) for name in node.input]
        if node.op_type == "Cast" and node.attribute[0].i == onnx.TensorProto.DOUBLE:
            if node.input[0] in floats:
                instead[node.output[0]] = node.input[0]
                continue
            node.attribute[0].i = onnx.TensorProto.FLOAT
        kept.append(node)
    del found.graph.node[:]
    found.graph.node.extend(kept)
    return found


def products_in(graph: Any) -> list[str]:
    """Names of the nodes that multiply by enough constant float32 weights."""
    from onnx import TensorProto

    floats = {
        tensor.name: int(np.prod(tensor.dims))
        for tensor in graph.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) >= 2
    }
    return [
        node.name
        for node in graph.graph.node
        if node.op_type in PRODUCTS and len(node.input) > 1 and floats.get(node.input[1], 0) >= MIN_WEIGHTS
    ]


def _quantised(model: Any, names: Sequence[str], calibration: Arrays, reduced_range: bool) -> Any:
    """The model with the named products quantised. Works in a folder of its own: the library wants files."""
    import onnx
    from onnxruntime import quantization as ort

    used = {node.op_type for node in model.graph.node if node.name in set(names)}
    inputs = [value.name for value in model.graph.input]
    with tempfile.TemporaryDirectory(prefix="luban-int8-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        # Without these marks the library warns that shapes should be inferred first; ranges need none.
        onnx.helper.set_model_props(
            model, {"onnx.infer": "onnxruntime.quant", "onnx.quant.pre_process": "onnxruntime.quant"}
        )
        onnx.save(model, str(source))
        ort.quantize_static(
            str(source),
            str(target),
            _reader(calibration, inputs),
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=sorted(used),
            nodes_to_quantize=list(names),
            per_channel=True,
            reduce_range=reduced_range,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": sorted(used & set(FLOAT_RESULT))},
        )
        found = onnx.load(str(target))
    del found.graph.value_info[:]  # shapes that the quantiser guessed; they may be of another padding
    kept = [opset for opset in found.opset_import if opset.domain in ("", "ai.onnx", "ai.onnx.ml")]
    del found.opset_import[:]
    found.opset_import.extend(kept)
    return found


def _reader(calibration: Arrays, inputs: Sequence[str]) -> Any:
    """Calibration rows as the library reads them: padded batches, one by one."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Batches of rows of like length."""

        def __init__(self) -> None:
            self._batches = _batches(calibration, inputs)

        def get_next(self) -> Arrays | None:
            """The next batch, None at the end."""
            return next(self._batches, None)

    return Reader()


def _batches(calibration: Arrays, inputs: Sequence[str]) -> Iterator[Arrays]:
    for rows in chunks(calibration):
        padded = pad(take(calibration, rows))
        yield {name: padded[name] for name in inputs}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
