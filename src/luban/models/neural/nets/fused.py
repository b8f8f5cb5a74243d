"""Nets of several blocks side by side, layers over all of them, a head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from luban.models.neural.learner import Perturb
from luban.models.neural.nets.base import Batch, Net, linear_double
from luban.models.products import single

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class FusedNet(nn.Module):
    """What each block gives, side by side, through layers of sizes `hidden`, to `width` outputs."""

    def __init__(self, nets: Sequence[Net], hidden: Sequence[int], dropout: float, width: int) -> None:
        super().__init__()
        self.nets = nn.ModuleDict()
        for net in nets:
            self.nets[_name(net, self.nets)] = net
        sizes = [sum(net.width for net in nets), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.head = nn.Linear(sizes[-1], width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """Outputs [B, width] before squashing."""
        x = self.dropout(torch.cat([net(batch, perturb) for net in self.nets.values()], dim=1))
        for layer in self.hidden:
            x = self.dropout(torch.relu(layer(x)))
        out: Tensor = self.head(x)
        return out

    def export(self, graph: GraphBuilder) -> str:
        """The tensor [B, width] float32."""
        x = graph.node("Concat", [net.export(graph) for net in self.nets.values()], axis=1)
        for layer in self.hidden:
            x = graph.node("Relu", [linear_double(graph, x, layer)])
        return single(graph, linear_double(graph, x, self.head))

    def layers(self) -> list[list[str]]:
        """Names of parameters by layer: nets of unlike depth end together; then what is above, then the head."""
        deep = [[[f"nets.{key}.{n}" for n in layer] for layer in net.layers()] for key, net in self.nets.items()]
        turned = zip_longest(*(reversed(layers) for layers in deep), fillvalue=[])
        found = [[name for layer in level for name in layer] for level in turned][::-1]
        found += [[f"hidden.{i}.weight", f"hidden.{i}.bias"] for i in range(len(self.hidden))]
        return [*found, ["head.weight", "head.bias"]]


def _name(net: Net, taken: nn.ModuleDict) -> str:
    """`column/kind`, with a number where it is taken; PyTorch allows no dot."""
    stem = f"{net.block.column}/{net.block.kind}".replace(".", "·")
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}-{number}", number + 1
    return name
