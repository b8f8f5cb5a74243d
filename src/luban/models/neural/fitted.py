"""A trained network as a fitted model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from luban.features.kinds import Arrays, Block
from luban.models.base import Fitted
from luban.models.neural.continued import stated
from luban.models.neural.nets.fused import FusedNet
from luban.models.neural.rows import Rows, outputs

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class FittedNet(Fitted):
    """A network in evaluation mode. `notes` tell what training has to say."""

    def __init__(self, module: FusedNet, blocks: tuple[Block, ...], num_threads: int, notes: str) -> None:
        super().__init__()
        self.module = module.eval()
        self.blocks = blocks
        self.notes = notes
        self._num_threads = num_threads

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float32."""
        with threads(self._num_threads):
            found: np.ndarray = outputs(self.module, Rows(arrays, self.blocks))
        return found

    def export(self, graph: GraphBuilder) -> str:
        """The network node by node: lists in float32, sums over them and what follows in double."""
        found: str = self.module.export(graph)
        return found

    def checkpoint(self) -> dict[str, np.ndarray]:
        """Parameters by name, and what their entries stand for; see `continued`."""
        return stated(self.module)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
