"""Convolutions of several widths over a sequence, each pooled by its maximum (Kim 2014, "Convolutional Neural
Networks for Sentence Classification").

Decided here: past its end a sequence is followed by zeros, whatever stands there in a padded batch, and what
is pooled is rectified and masked, so a sequence of nothing gives zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from luban.features.kinds import Block
from luban.models.neural.learner import Perturb
from luban.models.neural.nets.base import Batch, Net, array, column, started
from luban.models.products import double

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class ConvNet(Net):
    """An embedding, and convolutions side by side."""

    def __init__(self, block: Block, dims: int, widths: tuple[int, ...], filters: int, dropout: float) -> None:
        super().__init__(block, filters * len(widths))
        self.embedding = nn.Embedding(block.size, dims)
        started(self.embedding.weight, 0.1)
        self.convolutions = nn.ModuleList(nn.Conv1d(dims, filters, width) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """The largest answer of each filter anywhere in the sequence: [B, filters * widths]."""
        x: Tensor = self.embedding(batch[self.block.part("ids")])
        x = x if perturb is None else perturb(self.block.name, x)
        mask = batch[self.block.part("mask")].unsqueeze(2).to(x.dtype)
        x_bdl = (self.dropout(x) * mask).transpose(1, 2)
        mask_b1l = mask.transpose(1, 2)
        pooled = []
        for convolution in self.convolutions:
            width = convolution.kernel_size[0]
            found = torch.relu(convolution(nn.functional.pad(x_bdl, (0, width - 1))))
            pooled.append((found * mask_b1l).amax(dim=2))
        return torch.cat(pooled, dim=1)

    def export(self, graph: GraphBuilder) -> str:
        """Gather, Mul, Conv, Relu, Mul, ReduceMax."""
        mask_bl1 = column(graph, graph.take(self.block, "mask"))
        found = graph.node("Gather", [graph.constant(array(self.embedding.weight)), graph.take(self.block, "ids")])
        x_bdl = graph.node("Transpose", [graph.node("Mul", [found, mask_bl1])], perm=[0, 2, 1])
        mask_b1l = graph.node("Transpose", [mask_bl1], perm=[0, 2, 1])
        pooled = []
        for convolution in self.convolutions:
            weights = [graph.constant(array(convolution.weight)), graph.constant(array(convolution.bias))]
            made = graph.node("Conv", [x_bdl, *weights], pads=[0, convolution.kernel_size[0] - 1])
            masked = graph.node("Mul", [graph.node("Relu", [made]), mask_b1l])
            pooled.append(graph.node("ReduceMax", [masked, graph.constant(np.array([2]))], keepdims=0))
        return double(graph, graph.node("Concat", pooled, axis=1))

    def layers(self) -> list[list[str]]:
        """The embedding, then the convolutions."""
        return [self.names("embedding"), self.names("convolutions")]
