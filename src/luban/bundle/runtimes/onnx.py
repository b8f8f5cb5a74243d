"""ONNX graphs, run by ONNX Runtime.

The audit allows operators of `ai.onnx` and `ai.onnx.ml` alone, no functions of the model's own, and no
tensor kept outside the file. It knows no model family.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from luban.bundle.manifest import StageSpec
from luban.bundle.runtimes.base import Run, Runtime
from luban.features.kinds import Arrays

ALLOWED_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


class OnnxRuntime(Runtime):
    """One ONNX file a stage."""

    def audit(self, stage: StageSpec, files: Mapping[str, bytes]) -> str | None:
        """Refuses foreign operators, external data, and inputs or outputs other than the stage says."""
        import onnx

        if len(stage.files) != 1:
            return f"an onnx stage has one file, but got {len(stage.files)}"
        try:
            model = onnx.load_model_from_string(files[stage.files[0]])
        except Exception as error:
            return f"it is not an ONNX model: {type(error).__name__}"
        if len(model.functions):
            return "it defines functions of its own, which is not allowed"
        for domain in {d.domain for d in model.opset_import} | {n.domain for n in _nodes(model.graph)}:
            if domain not in ALLOWED_DOMAINS:
                return f"it uses operators of the domain `{domain}`; allowed are ai.onnx and ai.onnx.ml"
        for tensor in _tensors(model.graph):
            if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
                return f"its tensor `{tensor.name}` lies outside the file, which is not allowed"
        takes, gives = {i.name for i in model.graph.input}, {o.name for o in model.graph.output}
        if takes != set(stage.takes) or gives != set(stage.gives):
            return "its inputs and outputs are not those that the manifest names"
        return None

    def open(self, stage: StageSpec, files: Mapping[str, bytes], num_threads: int) -> Run:
        """An ONNX Runtime session over the audited bytes."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # One spinning thread a session would take a core from the server's other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = ort.InferenceSession(files[stage.files[0]], options, providers=["CPUExecutionProvider"])
        gives, takes = list(stage.gives), stage.takes

        def run(arrays: Arrays) -> Arrays:
            outputs = session.run(gives, {name: arrays[name] for name in takes})
            return dict(zip(gives, outputs, strict=True))

        return run


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
