"""What a net is: a module that turns one block into a vector, and states itself as a graph.

Decided here: the graph is built node by node from the weights, so its bytes depend on them alone. What
runs over the entries of a list is float32, as trained; sums over a list and all that follows is double, so
that an answer does not depend on padding nor on its neighbours. Knows no column type and no task.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from luban.features.kinds import Block
from luban.models.neural.learner import Perturb
from luban.models.products import double

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

Batch = Mapping[str, Tensor]
"""Padded parts of some rows by full name."""


class Net(nn.Module):
    """Reads one block of a batch. `width` is the size of what it gives."""

    def __init__(self, block: Block, width: int) -> None:
        super().__init__()
        self.block = block
        self.width = width

    @abstractmethod
    def forward(self, batch: Batch, perturb: Perturb | None = None) -> Tensor:
        """A vector [B, width] for each row; rows without entries give a finite one."""

    @abstractmethod
    def export(self, graph: GraphBuilder) -> str:
        """The same in a graph: the tensor [B, width], double."""

    @abstractmethod
    def layers(self) -> list[list[str]]:
        """Names of its parameters by layer, from the input upwards."""

    def names(self, *modules: str) -> list[str]:
        """Names of all parameters of these children."""
        return [name for name, _ in self.named_parameters() if name.split(".")[0] in modules]


class Listed(Net):
    """A net over sequences whose lower layers can be computed once, where they never learn."""

    @abstractmethod
    def below(self, batch: Batch, count: int) -> Tensor:
        """What the first `count` layers give for each entry: [B, L, D]."""

    frozen = 0
    """Layers that never learn: `forward` starts above them where the batch has `hidden`."""


def array(tensor: Tensor) -> np.ndarray:
    """A tensor as float32 on the host."""
    found: np.ndarray = tensor.detach().cpu().float().numpy()
    return found


def linear(graph: GraphBuilder, x: str, layer: nn.Linear) -> str:
    """x [.., D] float32 times the weights, plus the bias."""
    made = graph.node("MatMul", [x, graph.constant(array(layer.weight).T)])
    return graph.node("Add", [made, graph.constant(array(layer.bias))])


def linear_double(graph: GraphBuilder, x: str, layer: nn.Linear) -> str:
    """The same for x double."""
    made = graph.node("MatMul", [x, double(graph, graph.constant(array(layer.weight).T))])
    return graph.node("Add", [made, double(graph, graph.constant(array(layer.bias)))])


def column(graph: GraphBuilder, mask: str) -> str:
    """A mask [B, L] as [B, L, 1] float32."""
    return graph.node("Unsqueeze", [graph.node("Cast", [mask], to=1), graph.constant(np.array([2]))])


def started(parameter: Tensor, deviation: float) -> None:
    """Fill with normal numbers, from PyTorch's global generator."""
    with torch.no_grad():
        parameter.normal_(0.0, deviation)
