"""What a model family is, what it is given, and what it gives back.

A family sees arrays of known kinds, y and a head; it knows no column type, no task, no file and does
not import `train`: loop, seed, budget, validation rows and decisions come through `FitContext`.
Converters turn one kind of array into another inside the graph.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np

from luban.catalog import CONVERTERS, Choice, Component, Config
from luban.choices import OneOf
from luban.features.kinds import Arrays, Block, Kind, Want
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder
    from luban.models.neural.learner import Loop

Progress = Callable[[str, float], None]
"""Called with what is being done and the share done, 0 to 1."""


@dataclass(frozen=True)
class Refusal:
    """Why a family cannot be used here, in words for the user."""

    reason: str


@dataclass(frozen=True)
class Member:
    """A finished candidate, as a vote sees it: its name, validation outputs [B, n] and its model."""

    name: str
    family: str
    valid_outputs: np.ndarray
    model: Fitted


@dataclass(frozen=True)
class FitContext:
    """What a family is given beside arrays and y.

    `valid` and `y_valid` are validation rows: for early stopping and for choosing, never the test.
    `decide(key, make)` records whatever a clock or a measurement decides, once, and replays it.
    `loss` is what is minimised on validation rows, given outputs and y: lower is better.
    """

    head: Head
    blocks: tuple[Block, ...]
    valid: Arrays
    y_valid: np.ndarray
    seed: int
    num_threads: int
    loss: Callable[[np.ndarray, np.ndarray], float]
    decide: Callable[[str, Callable[[], Any]], Any]
    progress: Progress = lambda what, share: None
    seconds_left: float = math.inf
    """A family that trains in steps stops after so long, and records with `decide` where it stopped."""
    members: tuple[Member, ...] = field(default=())
    weights: np.ndarray | None = None
    """Weights [B] float64 of training rows, mean 1; None: all alike. Given only to families that `weigh`."""
    valid_weights: np.ndarray | None = None
    """Those of validation rows, for families that watch them by a loss of their own; `loss` needs none."""
    loop: Loop | None = None
    """The training loop, for families that learn by gradient steps; see `models.neural.learner`."""
    unfinished: Unfinished | None = None
    """Where the loop keeps checkpoints while it trains; None: nowhere, as in a contract check."""


class Reading(Config):
    """Settings of every family that reads columns."""

    converters: tuple[Annotated[Choice, OneOf(CONVERTERS)], ...] = ()
    """Converters that columns go through before they are read, as far as they can feed them; several may be named."""


class Fitted(Component):
    """A trained model. Immutable; threads may share it."""

    @abstractmethod
    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float32 or float64 before squashing, from bulk (ragged) arrays."""

    @abstractmethod
    def export(self, graph: GraphBuilder) -> str:
        """Add this model to a graph; returns the name of the tensor [B, n] float32.

        Inputs are asked of the graph by block (`graph.take(block, part)`), padded. The exported
        answer differs from `predict` by at most 1e-4, and from itself in another batch by 1e-6.
        """

    @abstractmethod
    def checkpoint(self) -> dict[str, np.ndarray]:
        """Weights by name: what training leaves for those who train on."""


class Unfinished(Protocol):
    """Where a family that trains for long keeps what it has, so that a run that was killed goes on from there.

    One place per candidate, gone when the candidate is finished. Writes are whole or not at all.
    """

    def read(self) -> bytes | None:
        """What was written last, or None."""
        ...

    def write(self, data: bytes) -> None:
        """Replace what is kept: beside, synced, renamed. Never a pickle."""
        ...


class Family(Component):
    """A way to learn. Stateless; the same arrays, y, config and seed give the same model.

    `heads` are those it can learn; `weighs` says that `fit` honours `context.weights`. A family with
    `votes` set takes no arrays of its own: it combines `context.members`, and is fitted after all others.
    One with `needs_folds` learns so much from members' outputs that they must be of models that did not see
    the rows; it is refused where there is one validation split.
    """

    heads: ClassVar[tuple[str, ...]]
    votes: ClassVar[bool] = False
    needs_folds: ClassVar[bool] = False
    weighs: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()
    """Libraries without which `auto` does not try it, and says so; named, it fails."""
    costly: ClassVar[bool] = False
    """`auto` tries it once all variants of the others are tried, in the time that they leave."""

    @abstractmethod
    def wants(self, head: Head) -> Sequence[Want] | Refusal:
        """What it asks of each column, the kinds it likes best first.

        A column gives every want of the first kind that its type supports, directly or through a
        converter.
        """

    @abstractmethod
    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """Learn from training rows. Arrays are bulk (ragged bags) and must not be changed."""

    def gradients(self, checkpoint: Mapping[str, np.ndarray], blocks: Sequence[Block], head: Head) -> Gradients | None:
        """The model of a checkpoint, for explanation; None: this family has no gradients."""
        return None

    def variants(self, num_rows: int, head: Head, kinds: frozenset[Kind] = frozenset()) -> Sequence[dict[str, Any]]:
        """Settings that `auto` may try, best expected first; `{}` is the default config.

        `kinds` are the kinds of array that the columns can give, so that nothing is tried that would only
        differ on a kind which is not there.
        """
        return ({},)


class Gradients(Protocol):
    """A trained model whose inputs can be scaled from nothing to what they are; see `Family.gradients`."""

    def along(
        self, arrays: Arrays, shares: np.ndarray, slopes: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Outputs [S, n] of one row with its inputs scaled by each of `shares` [S]; and by block, per entry (one for
        numbers and values), the mean over shares of gradient times input.

        `slopes` gives, for outputs [S, n], the derivative [S, n] of what is explained by each of them.
        """
        ...


class FittedConverter(Component):
    """A converter after fitting: arrays of one block become arrays of another. Immutable."""

    block: Block
    """The block it gives."""

    @abstractmethod
    def convert(self, arrays: Arrays) -> Arrays:
        """The arrays of `block`, by full name, for bulk arrays of the source block."""

    @abstractmethod
    def export(self, graph: GraphBuilder) -> str:
        """Add it to a graph; returns the tensor name of `block`'s `value`."""

    @abstractmethod
    def checkpoint(self) -> dict[str, np.ndarray]:
        """What it learnt, by name."""


class Converter(Component):
    """Turns one kind of array into another inside the graph; may learn from the target, cross-fitted.

    `automatic`: it stands between a column and a family without being named. `learns`: `fit` looks at rows; what
    does not is computed once a row, whatever rows are trained on.
    """

    takes: ClassVar[Kind]
    gives: ClassVar[Kind]
    automatic: ClassVar[bool] = True
    learns: ClassVar[bool] = True

    @abstractmethod
    def wants(self) -> Want:
        """What it asks of the column."""

    @abstractmethod
    def fit(
        self, arrays: Arrays, source: Block, y: np.ndarray, head: Head, seed: int
    ) -> tuple[FittedConverter, Arrays]:
        """The fitted converter, and the training rows' arrays: cross-fitted where it learns from y."""
