"""Tokens to vector: what a pretrained encoder makes of a text, its weights left as they are.

Decided here: the encoder is read as the tower `pretrained` reads it, and asked through the very graph that
the bundle will hold, so that a tree that asks x <= t is asked with the number it was trained on. It learns nothing
from rows: what it gives for a row is computed once and kept. By default each vector has length √dims: its figures are
then of size one, like standardised numbers, and texts are told apart by direction alone, as such encoders are
trained to be compared. Knows no column type.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from luban.catalog import fingerprint, need
from luban.features.calls import chunks
from luban.features.kinds import Arrays, Block, Kind, TokensConfig, Want, num_rows, pad, take
from luban.features.pretrained import PretrainedFiles
from luban.models.base import Converter, FittedConverter
from luban.models.products import double, single
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class FittedEncoder(FittedConverter):
    """A pretrained encoder over one block."""

    def __init__(self, source: Block, net: Any, files: str, settings: list[Any]) -> None:
        super().__init__()
        self._source, self._net, self._scaled = source, net, bool(settings[-1])
        made = fingerprint([source.name, files, settings])[:16]
        self.block = Block(f"{source.column}/vector/{made}", "vector", source.column, net.width)
        self._session: Any = None

    def convert(self, arrays: Arrays) -> Arrays:
        """`value` [B, dims] float32 and `present`."""
        named = {name: array for name, array in arrays.items() if name.rpartition(".")[0] == self._source.name}
        value = np.zeros((num_rows(named), self.block.size), np.float32)
        for rows in chunks(named):
            value[rows] = self._ask(pad(take(named, rows)))
        present = arrays[self._source.part("present")]
        return {self.block.part("value"): value, self.block.part("present"): present}

    def _ask(self, padded: Arrays) -> np.ndarray:
        if self._session is None:
            from luban.bundle.graph import GraphBuilder

            graph = GraphBuilder()
            model = graph.build(self.export(graph), self.block.size).SerializeToString(deterministic=True)
            runtime = need("onnxruntime", "neural")
            options = runtime.SessionOptions()
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found: np.ndarray = self._session.run(None, {i.name: padded[i.name] for i in self._session.get_inputs()})[0]
        return found

    def export(self, graph: GraphBuilder) -> str:
        """The encoder, its pool, and its length brought to √dims."""
        pooled: str = self._net.export(graph)
        if not self._scaled:
            return single(graph, pooled)
        axis = graph.constant(np.array([1]))
        length = graph.node("ReduceL2", [pooled, axis], keepdims=1)
        least = double(graph, graph.constant(np.float32(1e-12)))
        unit = graph.node("Div", [pooled, graph.node("Max", [length, least])])
        size = double(graph, graph.constant(np.float32(np.sqrt(self.block.size))))
        return single(graph, graph.node("Mul", [unit, size]))

    def checkpoint(self) -> dict[str, np.ndarray]:
        """The encoder's weights by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._net.state_dict().items()}


class PretrainedEncoder(Converter):
    """A pretrained encoder, frozen: what it makes of a text, as numbers."""

    extra: ClassVar[str] = "neural"
    takes: ClassVar[Kind] = "tokens"
    gives: ClassVar[Kind] = "vector"
    automatic: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    class Config(Converter.Config):
        """Which encoder, and how it is read."""

        model: PretrainedFiles
        """The encoder: `config.json`, `tokenizer.json` and weights as safetensors, in a folder or on a hub."""
        max_tokens: int = Field(128, ge=3)
        """Tokens of a value that are read, marks included; what is cut is counted."""
        pool: Literal["mean", "first"] = "mean"
        """What stands for the sequence: the mean of its tokens, or the first."""
        normalize: bool = True
        """Give all vectors one length."""

    def wants(self) -> Want:
        """Tokens, by the encoder's own tokenizer."""
        return Want("tokens", TokensConfig(tokenizer=self.config.model, max_tokens=self.config.max_tokens))

    def fit(
        self, arrays: Arrays, source: Block, y: np.ndarray, head: Head, seed: int
    ) -> tuple[FittedConverter, Arrays]:
        """The encoder as it is; rows and y are not looked at."""
        from luban.models.neural.bert import load

        c = self.config
        net = load(c.model, source, c.max_tokens, c.pool, 0.0).eval()
        digest = hashlib.sha256()
        for name, tensor in net.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.numpy().tobytes())
        fitted = FittedEncoder(source, net, digest.hexdigest(), [c.pool, c.normalize])
        return fitted, fitted.convert(arrays)
