"""A model that is its graph: a finished candidate read back from its folder.

Whoever holds the ONNX bytes of a model can ask it and merge it, without the family that made it:
a run that was killed and resumed then goes on exactly as one that was not. Bulk arrays are asked in
chunks of rows of like length, so that one long text does not pad the others. It knows no family.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from luban.features.calls import chunks
from luban.features.kinds import Arrays, num_rows, pad, take
from luban.models.base import Fitted

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class GraphModel(Fitted):
    """A stored graph as a fitted model. `graph` is what `GraphBuilder.build` made, as bytes."""

    def __init__(self, graph: bytes, num_threads: int = 0) -> None:
        super().__init__()
        self._bytes = graph
        self._num_threads = num_threads

    @cached_property
    def _model(self) -> onnx.ModelProto:
        return onnx.load_model_from_string(self._bytes)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._num_threads
        return onnxruntime.InferenceSession(self._bytes, options, providers=["CPUExecutionProvider"])

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float32, by onnxruntime."""
        names = [value.name for value in self._session.get_inputs()]
        blocks = {name.rpartition(".")[0] for name in names}
        arrays = {name: array for name, array in arrays.items() if name.rpartition(".")[0] in blocks}
        calls = list(chunks(arrays)) or [np.zeros(0, np.int64)]
        answers = [self._ask(take(arrays, rows), names) for rows in calls]
        outputs = np.empty((num_rows(arrays), answers[0].shape[1]), np.float32)
        outputs[np.concatenate(calls)] = np.concatenate(answers)
        return outputs

    def _ask(self, arrays: Arrays, names: list[str]) -> np.ndarray:
        padded = pad(arrays)
        found: np.ndarray = self._session.run(None, {name: padded[name] for name in names})[0]
        return found

    def export(self, graph: GraphBuilder) -> str:
        """The stored graph's nodes, merged."""
        return graph.absorb(self._model)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The graph's constants, by name."""
        return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in self._model.graph.initializer}
