"""Which parameters learn, with what step size and decay, and their averages.

Decided here:

- weight decay is decoupled for both optimisers (Loshchilov and Hutter 2019) and spares biases and norms:
  parameters of fewer than two dimensions; so does the L1 penalty, a proximal step that gives true zeros;
- layers thaw from the head down; frozen layers never learn;
- the exponential mean starts with a shorter memory, min(decay, (1 + n) / (10 + n)), so that it is not
  held by weights from before any training; the mean of the later half is over every step of it.

Knows names of parameters by layer, and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from luban.errors import ConfigError
from luban.models.neural.learner import Learner
from luban.models.neural.recipe import Recipe


class Layers:
    """A learner's parameters by layer, from the input to the head."""

    def __init__(self, learner: Learner, recipe: Recipe) -> None:
        self._recipe = recipe
        self._names = [list(layer) for layer in learner.layers()]
        self._named: dict[str, nn.Parameter] = dict(learner.module.named_parameters())
        listed = [name for layer in self._names for name in layer]
        assert sorted(listed) == sorted(self._named), "`layers()` must name every parameter once"
        if recipe.frozen_layers >= len(self._names):
            raise ConfigError(
                f"`frozen_layers` must be less than the model's {len(self._names)} layers, "
                f"but got {recipe.frozen_layers}.",
                "Leave at least the head to learn.",
            )
        for name in self._of(self._names[: recipe.frozen_layers]):
            self._named[name].requires_grad_(False)
        kept = self._of(self._names[recipe.frozen_layers :])
        self.learning = {name: self._named[name] for name in kept if self._named[name].requires_grad}
        """Parameters that learn, sooner or later, by name."""
        self._thawed = -1

    def _of(self, layers: Sequence[Sequence[str]]) -> list[str]:
        return [name for layer in layers for name in layer]

    def thaw(self, epochs: float) -> None:
        """Let those layers learn that may after so many epochs."""
        every = self._recipe.unfreeze_every
        count = len(self._names) if every is None else 1 + int(epochs / every)
        if count == self._thawed:
            return
        self._thawed = count
        open_names = set(self._of(self._names[-count:]))
        for name, parameter in self.learning.items():
            parameter.requires_grad_(name in open_names)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups, each with `share` of the step size and `decay`, whether penalties apply."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for depth, layer in enumerate(reversed(self._names)):
            share = self._recipe.layer_decay**depth
            for name in layer:
                if name in self.learning:
                    parameter = self.learning[name]
                    groups.setdefault((share, parameter.ndim > 1), []).append(parameter)
        return [{"params": params, "share": share, "decay": decay} for (share, decay), params in groups.items()]


class Steps:
    """An optimiser that follows a recipe."""

    def __init__(self, layers: Layers, recipe: Recipe) -> None:
        self._recipe = recipe
        groups = layers.groups()
        adam = recipe.optimizer == "adamw"
        for group in groups:
            group["weight_decay"] = recipe.l2 if adam and group["decay"] else 0.0
        self.optimizer: torch.optim.Optimizer
        if adam:
            self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
        else:
            self.optimizer = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True, foreach=True)

    def step(self, share: float) -> None:
        """One step with the gradients that are there; `share` of the largest step size."""
        recipe = self._recipe
        with torch.no_grad():
            for group in self.optimizer.param_groups:
                group["lr"] = recipe.learning_rate * share * group["share"]
                if recipe.l2 and recipe.optimizer == "sgd":
                    for parameter in _penalised(group):
                        parameter.mul_(1.0 - group["lr"] * recipe.l2)
            self.optimizer.step()
            if recipe.l1:
                self._shrink()

    def _shrink(self) -> None:
        """The proximal step of the L1 penalty: weights move to zero by step size times penalty, and stop there."""
        for group in self.optimizer.param_groups:
            for parameter in _penalised(group):
                parameter.copy_(nn.functional.softshrink(parameter, group["lr"] * self._recipe.l1))


def _penalised(group: dict[str, Any]) -> list[nn.Parameter]:
    """Those parameters of a group that penalties apply to at this step."""
    return [parameter for parameter in group["params"] if group["decay"] and parameter.grad is not None]


class Average:
    """The mean of weights over steps, or none. `start` is the step from which the later half is averaged."""

    def __init__(self, recipe: Recipe, learning: dict[str, nn.Parameter], start: int) -> None:
        self._recipe, self._learning, self._start = recipe, learning, start
        self.count = 0
        self.mean: dict[str, Tensor] = {}

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        kind = self._recipe.average
        if kind == "none" or (kind == "swa" and step <= self._start):
            return
        self.count += 1
        now = {name: parameter.detach() for name, parameter in self._learning.items()}
        if not self.mean:
            self.mean.update({name: tensor.clone() for name, tensor in now.items()})
            return
        decay = min(self._recipe.ema_decay, (1 + self.count) / (10 + self.count))
        share = 1.0 / self.count if kind == "swa" else 1.0 - decay
        torch._foreach_lerp_([self.mean[name] for name in now], list(now.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has averaged weights inside, where there are any, and its own again afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, mean in self.mean.items():
            parameter = self._learning[name]
            parameter.data, self.mean[name] = mean, parameter.data
