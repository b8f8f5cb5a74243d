"""A trained network read back from its checkpoint, and what its outputs do when its inputs grow from nothing.

For explanation: embeddings and numbers are scaled from zero to what they are, through the hook that training perturbs
them by. Decided here: zero is an embedding that says nothing, and for scaled numbers the middle of what training saw.
Knows no column type and no task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from luban.errors import ConfigError
from luban.features.kinds import Arrays, Block
from luban.models.neural.build import built
from luban.models.neural.fitted import threads
from luban.models.neural.nets.fused import FusedNet
from luban.models.neural.rows import Rows
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.models.neural.family import Neural


class NetGradients:
    """A network in evaluation mode; weights are not touched. Not shared between threads."""

    def __init__(self, module: FusedNet, blocks: Sequence[Block]) -> None:
        self._module, self._blocks = module.eval(), tuple(blocks)

    @classmethod
    def reopened(
        cls, family: Neural, checkpoint: Mapping[str, np.ndarray], blocks: Sequence[Block], head: Head
    ) -> NetGradients:
        """From what training left. Raises ConfigError where the weights are those of another network."""
        module = built(family, blocks, head.width)
        names = module.state_dict().keys()
        weights = {name: torch.from_numpy(np.array(checkpoint[name])) for name in names if name in checkpoint}
        try:
            module.load_state_dict(weights)
        except RuntimeError:
            raise ConfigError(
                "The checkpoint holds the weights of another network.", "Name the folder that trained this bundle."
            ) from None
        return cls(module, blocks)

    def along(
        self, arrays: Arrays, shares: np.ndarray, slopes: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Outputs [S, n] of one row with its inputs scaled by each of `shares` [S]; and by block, per entry (one for
        numbers and values), the mean over shares of gradient times input.

        `slopes` gives, for outputs [S, n], the derivative [S, n] of what is explained by each of them.
        """
        with threads(1):
            return self._along(arrays, shares, slopes)

    def _along(
        self, arrays: Arrays, shares: np.ndarray, slopes: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rows = Rows(arrays, self._blocks)
        batch = rows.batch(np.zeros(len(shares), np.int64), torch.device("cpu"))
        scale = torch.from_numpy(np.asarray(shares, np.float32))
        whole: dict[str, Tensor] = {}
        scaled: dict[str, Tensor] = {}

        def grow(name: str, x: Tensor) -> Tensor:
            whole[name] = x.detach()
            scaled[name] = (whole[name] * scale.view(-1, *([1] * (x.dim() - 1)))).requires_grad_(True)
            return scaled[name]

        outputs = self._module(batch, grow)
        found = outputs.detach().double().numpy()
        weights = torch.from_numpy(np.asarray(slopes(found), np.float32))
        gradients = torch.autograd.grad(outputs, list(scaled.values()), weights, allow_unused=True)
        shown = {}
        for (name, x), gradient in zip(whole.items(), gradients, strict=True):
            product = torch.zeros_like(x) if gradient is None else gradient * x
            shown[name] = product.double().sum(dim=-1).mean(dim=0).reshape(-1).numpy()
        return found, shown
