"""The gradients of one step: batches of rows, in pieces where memory is short.

Decided here:

- the loss of a step is the mean over all its rows, however they are cut into batches and pieces;
- noise and adversarial steps act where the module calls `perturb`, on any embedding or number;
- an adversarial step (Miyato, Dai and Goodfellow 2017) moves each row's embeddings by a step of a given
  norm along their gradient, and asks again; the loss is the mean of both;
- bf16 is autocast: weights, their gradients and their sums stay in fp32.

Knows no optimiser and no schedule.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from luban.models.neural.learner import Learner, Perturb
from luban.models.neural.recipe import Recipe

Precision = Literal["fp32", "bf16"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too short: NumPy's, PyTorch's on processors and on accelerators."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    says = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in says or "not enough memory" in says)


def computing(learner: Learner, precision: Precision) -> AbstractContextManager[Any]:
    """What a learner's module computes inside is computed in this precision."""
    device = next(learner.module.parameters()).device.type
    found: AbstractContextManager[Any] = torch.autocast(device, torch.bfloat16, enabled=precision == "bf16")
    return found


class Gradients:
    """Computes gradients of a learner's loss into its parameters."""

    def __init__(self, learner: Learner, recipe: Recipe, precision: Precision) -> None:
        self._learner, self._recipe, self._precision = learner, recipe, precision

    def compute(self, batches: Sequence[np.ndarray], pieces: int = 1) -> float:
        """Set the gradients of the mean loss over all rows; gives that loss.

        Each batch is worked through in `pieces`, so that less is in memory at once.
        """
        self._learner.module.zero_grad(set_to_none=True)
        total = sum(map(len, batches))
        sums = []
        for batch in batches:
            for rows in np.array_split(batch, min(pieces, len(batch))):
                sums.append(self._backward(rows, total))
        return float(torch.stack(sums).sum())

    def _backward(self, rows: np.ndarray, total: int) -> Tensor:
        noise = _Noise(self._recipe.noise) if self._recipe.noise else None
        if not self._recipe.adversarial:
            loss = self._losses(rows, noise).sum() / total
            loss.backward()
            return loss.detach()
        seen = _Seen(noise)
        clean = self._losses(rows, seen).sum() / total
        (clean / 2).backward()
        push = _Push(seen, self._recipe.adversarial, noise)
        moved = self._losses(rows, push).sum() / total
        (moved / 2).backward()
        return (clean + moved).detach() / 2

    def _losses(self, rows: np.ndarray, perturb: Perturb | None) -> Tensor:
        with computing(self._learner, self._precision):
            losses: Tensor = self._learner.losses(rows, self._recipe, perturb)
        return losses.double() if losses.dtype == torch.float64 else losses.float()


class _Noise:
    """Adds normal noise."""

    def __init__(self, deviation: float) -> None:
        self._deviation = deviation

    def __call__(self, name: str, values: Tensor) -> Tensor:
        return values + self._deviation * torch.randn_like(values)


class _Seen:
    """Remembers what it is shown, so that its gradients can be had afterwards."""

    def __init__(self, noise: Perturb | None) -> None:
        self._noise = noise
        self.values: dict[str, Tensor] = {}

    def __call__(self, name: str, values: Tensor) -> Tensor:
        if self._noise is not None:
            values = self._noise(name, values)
        if not values.requires_grad:
            values = values.detach().requires_grad_()
        values.retain_grad()
        assert name not in self.values, f"`perturb` was called twice for {name!r}"
        self.values[name] = values
        return values


class _Push:
    """Moves what was seen by a step of `norm` along each row's gradient."""

    def __init__(self, seen: _Seen, norm: float, noise: Perturb | None) -> None:
        self._noise = noise
        self._steps = {}
        for name, values in seen.values.items():
            gradient = values.grad
            if gradient is not None:
                lengths = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
                self._steps[name] = norm * gradient / lengths.view(-1, *[1] * (gradient.ndim - 1))

    def __call__(self, name: str, values: Tensor) -> Tensor:
        if self._noise is not None:
            values = self._noise(name, values)
        return values + self._steps[name] if name in self._steps else values
