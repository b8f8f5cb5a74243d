"""A network from a family's settings and the blocks it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from luban.features.kinds import Block
from luban.models.base import FitContext
from luban.models.baseline import constant
from luban.models.neural.nets.base import Net
from luban.models.neural.nets.fused import FusedNet
from luban.models.neural.nets.simple import BagNet, IndexNet, VectorNet

if TYPE_CHECKING:
    from luban.models.neural.family import Neural


def network(family: Neural, y: np.ndarray, context: FitContext) -> FusedNet:
    """The network before training, drawn from PyTorch's global generator; its head starts at the best constant."""
    made = built(family, context.blocks, context.head.width)
    with torch.no_grad():
        made.head.bias.copy_(torch.from_numpy(constant(y, context.head)))
        made.head.weight.mul_(0.1)
    return made


def built(family: Neural, blocks: Sequence[Block], width: int) -> FusedNet:
    """The network with weights as they are drawn."""
    nets = [_net(family, block) for block in blocks]
    return FusedNet(nets, family.config.hidden, family.config.dropout, width)


def _net(family: Neural, block: Block) -> Net:
    """What reads one block."""
    tower = family.tower
    if block.kind == tower.want().kind:
        return tower.build(block)
    if block.kind == "index":
        return IndexNet(block, family.config.embedding_dims)
    if block.kind == "vector":
        return VectorNet(block, family.config.number_dims)
    return BagNet(block, family.config.embedding_dims)
