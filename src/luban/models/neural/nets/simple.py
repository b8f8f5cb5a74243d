"""Nets for what is no sequence: a value of few, numbers, and weighted bags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from luban.features.kinds import Block
from luban.models.neural.learner import Perturb
from luban.models.neural.nets.base import Batch, Net, array, linear_double, started
from luban.models.products import double, product

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class IndexNet(Net):
    """An embedding for each value."""

    def __init__(self, block: Block, dims: int) -> None:
        super().__init__(block, dims)
        self.embedding = nn.Embedding(block.size, dims)
        started(self.embedding.weight, 0.1)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """The value's embedding [B, dims]."""
        x: Tensor = self.embedding(batch[self.block.part("value")])
        return x if perturb is None else perturb(self.block.name, x)

    def export(self, graph: GraphBuilder) -> str:
        """One Gather."""
        return product(graph, self.block, array(self.embedding.weight))

    def layers(self) -> list[list[str]]:
        """The embedding."""
        return [self.names("embedding")]


class VectorNet(Net):
    """One layer over numbers; NaN counts as 0."""

    def __init__(self, block: Block, dims: int) -> None:
        super().__init__(block, dims)
        self.layer = nn.Linear(block.size, dims)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """A layer of rectified sums [B, dims]."""
        x = torch.nan_to_num(batch[self.block.part("value")])
        x = x if perturb is None else perturb(self.block.name, x)
        return torch.relu(self.layer(x))

    def export(self, graph: GraphBuilder) -> str:
        """MatMul, Add, Relu."""
        value = graph.take(self.block, "value")
        known = graph.node("Where", [graph.node("IsNaN", [value]), graph.constant(np.float32(0)), value])
        return graph.node("Relu", [linear_double(graph, double(graph, known), self.layer)])

    def layers(self) -> list[list[str]]:
        """The one layer."""
        return [self.names("layer")]


class BagNet(Net):
    """The weighted sum of the embeddings of a bag's entries (Joulin et al. 2016, "Bag of Tricks")."""

    def __init__(self, block: Block, dims: int) -> None:
        super().__init__(block, dims)
        self.embedding = nn.Embedding(block.size, dims)
        started(self.embedding.weight, 0.1)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """Sums [B, dims]."""
        x: Tensor = self.embedding(batch[self.block.part("ids")])
        x = x if perturb is None else perturb(self.block.name, x)
        return (batch[self.block.part("weights")].unsqueeze(1) @ x).squeeze(1)

    def export(self, graph: GraphBuilder) -> str:
        """Gather and MatMul in double precision."""
        return product(graph, self.block, array(self.embedding.weight))

    def layers(self) -> list[list[str]]:
        """The embeddings."""
        return [self.names("embedding")]
