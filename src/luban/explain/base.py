"""What an explanation is: a method (`Explainer`), what it is given (`Case`), what it gives back (`Finding`).

A method acts from outside: it asks a bundle, through the bundle's own path, and returns new objects. It knows no
task, no family and no column type; what it needs of them it asks by capability (`supports`), and the reason is
shown where the answer is no. Decided here: findings say how they look as a few kinds of block, so that the
terminal and a page show every method, plug-ins included, without knowing any. Nothing here is personal by itself,
but findings about rows hold values of rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from luban.bundle.bundle import Bundle, Rows
from luban.catalog import Component
from luban.errors import ConfigError
from luban.explain.quantity import Quantity
from luban.explain.question import Question

if TYPE_CHECKING:
    from luban.bundle.preprocess import Values

Json = dict[str, Any]


@dataclass(frozen=True)
class Sentence:
    """One line of words. `key` names it in `wording`, `values` fill it in."""

    key: str
    values: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Marked:
    """A value as it stands, in pieces [(text, weight in -1 … 1)]; what is between parts has weight 0."""

    column: str
    pieces: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Grid:
    """A table: names of columns (keys of `wording`) and cells; `weights`, if given, one a row in -1 … 1."""

    head: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...] = ()


Block = Sentence | Marked | Grid


class Finding(ABC):
    """What a method found out about one row (`row` is its position), or about the model (`row` is None)."""

    method: str
    row: int | None

    @property
    def personal(self) -> bool:
        """Whether it holds values of rows, or words taken from them."""
        return self.row is not None

    @abstractmethod
    def to_json(self) -> Json:
        """All of it as plain JSON."""

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """How it is shown."""


@dataclass(frozen=True)
class Unexplained(Finding):
    """A row that has no answer, so there is nothing to explain: its error, as `predict` gives it."""

    method: str
    row: int | None
    error: str

    def to_json(self) -> Json:
        """`method`, `row`, `error`."""
        return {"method": self.method, "row": self.row, "error": self.error}

    def blocks(self) -> Sequence[Block]:
        """The error."""
        return (Sentence("unexplained", {"error": self.error}),)


@dataclass(frozen=True, eq=False)
class Case:
    """Rows, the bundle that answers them, and what is to be explained.

    `asked` is the class whose answer is explained; None: the one that is predicted. `truth` [B] is y as
    the task encodes it, where it is known. `checkpoint` is the folder of a trained candidate, for methods that need
    gradients. `others` are parsed values of known rows by column, from which methods that change rows take values; by
    default those of the bundle's examples. All that is drawn at random is drawn from `seed`. After `until`, a time of
    `time.monotonic`, asking the bundle raises `question.OutOfTime`.
    """

    bundle: Bundle
    values: Values
    asked: str | None = None
    truth: np.ndarray | None = None
    seed: int = 0
    checkpoint: Path | None = None
    others: Mapping[str, Sequence[Any]] | None = None
    until: float = math.inf

    @property
    def pool(self) -> Mapping[str, Sequence[Any]]:
        """Values of known rows by column: `others`, or those of the bundle's examples."""
        return self.bundle.values(self.bundle.example_rows()).columns if self.others is None else self.others

    @classmethod
    def of(cls, bundle: Bundle, rows: Rows, asked: str | None = None, seed: int = 0) -> Case:
        """The case of raw rows. Raises ConfigError for a class that the bundle does not know."""
        Quantity.of(bundle).number(asked)
        return cls(bundle, bundle.values(rows), asked, seed=seed)

    def __len__(self) -> int:
        return len(self.values.errors)

    def some(self, rows: np.ndarray) -> Case:
        """The case of the rows at these positions alone."""
        columns = {name: [values[i] for i in rows.tolist()] for name, values in self.values.columns.items()}
        values = type(self.values)(columns, [self.values.errors[i] for i in rows.tolist()])
        return replace(self, values=values, truth=None if self.truth is None else np.asarray(self.truth)[rows])

    def good(self) -> np.ndarray:
        """Positions [G] int64 of the rows that have an answer."""
        return np.array([i for i, error in enumerate(self.values.errors) if error is None], np.int64)

    def questions(self, method: str) -> Iterator[Question | Unexplained]:
        """Each row as a question to the bundle, or why it has no answer."""
        quantity = Quantity.of(self.bundle)
        for row, error in enumerate(self.values.errors):
            if error is not None:
                yield Unexplained(method, row, error)
                continue
            values = {name: column[row] for name, column in self.values.columns.items()}
            yield Question(self.bundle, values, row, quantity, quantity.number(self.asked), self.until)


class Explainer(Component):
    """A way to explain. Stateless: the same case gives the same findings, whatever rows stand beside a row.

    `explains` says whether it speaks of each row or of the model as a whole; `measures` that it measures by the truth,
    so that the report gives it rows which the model has not seen; `attributes` that its findings are `Attribution`s;
    `additive` that the parts of each and its base sum to the output to 1e-3.
    """

    explains: ClassVar[Literal["row", "model"]] = "row"
    measures: ClassVar[bool] = False
    attributes: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @abstractmethod
    def explain(self, case: Case) -> Sequence[Finding]:
        """One finding a row, in order (bad rows are `Unexplained`); or one of the model."""

    def explain_random(self, case: Case) -> Sequence[Finding]:
        """The same rows, explained for a model whose weights are shuffled by the case's seed.

        It is what `faithfulness` compares with; empty where there is none.
        """
        from luban.explain.random_model import shuffled

        random = shuffled(case.bundle, case.seed)
        return () if random is None else self.explain(replace(case, bundle=random))

    def supports(self, bundle: Bundle, checkpoint: Path | None) -> str | None:
        """None if this bundle can be explained so, or the reason why not."""
        return None


def refuse(method: str, reason: str | None) -> None:
    """Raise ConfigError with the reason, if there is one."""
    if reason is not None:
        raise ConfigError(f"The method `{method}` does not suit this bundle: {reason}.", "Name another method.")
