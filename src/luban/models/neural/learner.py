"""What the training loop trains, and what it gives back: the joint between neural families and `train`.

A family makes a `Learner` (module, rows, losses), hands it with a `Recipe` to `context.loop`, and gets
the module's best weights loaded and a `Trained` record. The loop knows no family; a family knows no loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from luban.models.neural.recipe import Recipe

if TYPE_CHECKING:
    from luban.models.base import FitContext

Tensor = Any
"""A torch.Tensor; PyTorch is imported by those who compute with it alone."""
Perturb = Callable[[str, Tensor], Tensor]
"""Called by the module for each continuous input or embedding, by name; gives what to go on with."""


class Learner(ABC):
    """A module with its training and validation rows. Belongs to one fit; the loop alone changes its weights.

    `module` is a torch.nn.Module whose parameters are float32. `num_rows` B training rows; `lengths` [B]
    int64 are the entries of each row's longest list (0 where there are none), for buckets.
    """

    module: Any
    num_rows: int
    lengths: np.ndarray

    @abstractmethod
    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> Tensor:
        """Loss of each of these training rows (positions [b] int64): a tensor [b] with gradients.

        Weights of rows and label smoothing are in it; dropout is drawn from torch's global generator.
        """

    @abstractmethod
    def validate(self) -> float:
        """Loss on validation rows by the task's own measure (`context.loss`), lower is better; without gradients.

        NaN where there are no validation rows (a refit).
        """

    @abstractmethod
    def layers(self) -> Sequence[Sequence[str]]:
        """Names of parameters by layer, from the input to the head: for freezing, thawing, and step sizes."""

    def freeze(self, count: int) -> None:
        """The first `count` layers will never learn: what they give may be computed once. Raises ConfigError."""
        raise NotImplementedError


@dataclass(frozen=True)
class Trained:
    """What a loop did. `history` has one entry an evaluation: step, epoch, loss, valid, learning_rate.

    `best_step` is the step whose weights the module now has; `notes` are sentences for the user (memory was
    short and batches were halved; a loss was not finite).
    """

    steps: int
    best_step: int
    best_loss: float
    history: tuple[Mapping[str, float], ...] = ()
    notes: tuple[str, ...] = field(default=())


class Loop(Protocol):
    """A training loop."""

    def __call__(self, learner: Learner, recipe: Recipe, context: FitContext) -> Trained:
        """Train; afterwards the module has its best weights.

        Resumes from `context.unfinished` where that has a checkpoint: the losses that follow are the same bits
        as without the interruption. How many steps were made is a decision (`context.decide("steps", …)`).
        Raises DataError where no loss was ever finite, naming the step and what to try.
        """
        ...
