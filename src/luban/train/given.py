"""What one candidate is given to learn from, and asked with: arrays of columns; for a vote, numbers of rows.

Decided here: a vote asks its members nothing again. What they answered to validation and test rows is kept with
them, so a vote's arrays are the numbers of these rows, and its members are models of which these answers are known
(`Known`). Names no family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from luban.bundle.graph import GraphBuilder
from luban.catalog import Choice
from luban.data.dataset import Split
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Block, take
from luban.models.base import Fitted
from luban.models.graph_model import GraphModel
from luban.train.encode import TrainData

ROWS = "rows"


class Known(Fitted):
    """A model of which the answers to some rows are known: arrays are their numbers, `{ROWS: [M] int64}`.

    `graph` is its ONNX bytes; empty where it is never exported.
    """

    def __init__(self, outputs: np.ndarray, graph: bytes = b"") -> None:
        super().__init__()
        self._outputs = outputs
        self._graph = graph

    def predict(self, arrays: Arrays) -> np.ndarray:
        """The known outputs [M, n] of these rows."""
        return np.asarray(self._outputs[arrays[ROWS]])

    def export(self, graph: GraphBuilder) -> str:
        """The model's graph, merged; raises AssertionError where it has none."""
        assert self._graph, "a model of which only outputs are known is not exported"
        return GraphModel(self._graph).export(graph)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}


@dataclass(frozen=True)
class Inputs:
    """What one family reads: raw pairs, and converters over some of them."""

    pairs: list[tuple[str, Encoder]]
    converters: list[tuple[str, Encoder, Choice]]


class Given(ABC):
    """What one candidate is given of each part of the split. `train` are arrays of training rows."""

    blocks: tuple[Block, ...]
    train: Arrays

    def __init__(self, data: TrainData) -> None:
        self._data = data

    @abstractmethod
    def arrays(self, split: Split) -> Arrays:
        """What the model is asked with for the rows of a split."""

    @abstractmethod
    def export(self, fitted: Fitted) -> bytes:
        """The ONNX graph of the model and what stands before it, as bytes that the same model always gives."""

    def predict(self, fitted: Fitted, split: Split) -> np.ndarray:
        """Outputs [B, n] float64 of a split, which may have no rows."""
        if not len(self._data.y(split)):
            return np.zeros((0, self._data.head.width))
        return np.asarray(fitted.predict(self.arrays(split)), np.float64)


class OfColumns(Given):
    """Arrays of the columns that a model reads, converters applied."""

    def __init__(self, data: TrainData, inputs: Inputs) -> None:
        super().__init__(data)
        self._inputs = inputs
        self._converted = [data.converted(*item) for item in inputs.converters]
        sources = {converted.source.name for converted in self._converted}
        direct = [encoder.block(column) for column, encoder in inputs.pairs]
        self.blocks: tuple[Block, ...] = (
            *(block for block in direct if block.name not in sources),
            *(converted.fitted.block for converted in self._converted),
        )
        self.train = self.arrays("train")
        for converted in self._converted:
            self.train |= converted.train

    def arrays(self, split: Split) -> Arrays:
        """Raw and converted arrays of a split (for training rows: not cross-fitted)."""
        if not len(self._data.y(split)):
            return take(self.train, np.zeros(0, np.int64))
        arrays = dict(self._data.arrays(self._inputs.pairs, split))
        for converted in self._converted:
            arrays |= self._data.through(converted, split)
        return arrays

    def export(self, fitted: Fitted) -> bytes:
        """The ONNX graph of converters and model, as bytes that the same model always gives."""
        graph = GraphBuilder()
        for converted in self._converted:
            graph.give(converted.fitted.block, "value", converted.fitted.export(graph))
        model = graph.build(fitted.export(graph), self._data.head.width)
        return bytes(model.SerializeToString(deterministic=True))


class OfMembers(Given):
    """For a vote: numbers of rows, validation rows first, test rows after them, as its members' answers stand."""

    def __init__(self, data: TrainData, inputs: Inputs) -> None:
        super().__init__(data)
        self.blocks = tuple(encoder.block(column) for column, encoder in inputs.pairs)
        self.train = {ROWS: np.zeros(0, np.int64)}

    def arrays(self, split: Split) -> Arrays:
        """The numbers of a split's rows; none for training rows, to which no answers are known."""
        if split == "train":
            return self.train
        start = 0 if split == "valid" else len(self._data.y("valid"))
        return {ROWS: start + np.arange(len(self._data.y(split)))}

    def export(self, fitted: Fitted) -> bytes:
        """The members' graphs in one."""
        graph = GraphBuilder()
        model = graph.build(fitted.export(graph), self._data.head.width)
        return bytes(model.SerializeToString(deterministic=True))
