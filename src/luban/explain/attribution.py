"""What attribution methods give: a number for each part of a row, and what they sum to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.data.binary import shown
from luban.evaluate.masking import plain
from luban.explain.base import Block, Finding, Grid, Json, Marked, Sentence
from luban.explain.quantity import VALUE
from luban.explain.question import Question


@dataclass(frozen=True)
class Share:
    """What one part, or some parts of one column that were judged together, adds to the output."""

    column: str
    name: str
    value: float
    numbers: tuple[int, ...]
    """Positions of the parts within their column."""
    at: tuple[int, int] | None = None
    """Where they stand in the value, where that is text."""


@dataclass(frozen=True, eq=False)
class Attribution(Finding):
    """Shares of the parts of one row.

    `output` is the explained quantity for the whole row, `base` for a row in which nothing is known.
    `std_error` is that of a share, None where nothing was drawn; `asked` counts rows that the bundle answered.
    """

    method: str
    row: int | None
    explains: str
    unit: str
    output: float
    base: float
    shares: tuple[Share, ...]
    additive: bool
    std_error: float | None
    asked: int
    answer: Json
    values: Json

    @classmethod
    def of(
        cls, question: Question, method: str, groups: Sequence[np.ndarray], values_g: np.ndarray, additive: bool,
        std_error: float | None = None,
    ) -> Attribution:  # fmt: skip
        """From the value of each group of parts; a group is of one column."""
        places = {name: spans(question, name) for name in question.groups}
        shares = []
        for group, value in zip(groups, values_g.tolist(), strict=True):
            parts = [question.parts[i] for i in group.tolist()]
            numbers = tuple(part.number for part in parts)
            where = places[parts[0].column]
            if where is None:
                name, at = " ".join(part.name for part in parts), None
            else:
                at = where[numbers[0]][0], where[numbers[-1]][1]
                name = question.values[parts[0].column][slice(*at)]
            shares.append(Share(parts[0].column, name, value, numbers, at))
        return cls(
            method=method,
            row=question.row,
            explains=question.explains,
            unit=question.quantity.unit,
            output=question.output,
            base=question.base,
            shares=tuple(shares),
            additive=additive,
            std_error=std_error,
            asked=question.asked,
            answer=question.answer(),
            values={name: _plain(value) for name, value in question.values.items() if value is not None},
        )

    @property
    def explains_class(self) -> str | None:
        """What to ask for to have the same explained of another model."""
        return None if self.unit == VALUE else self.explains

    @property
    def gap(self) -> float:
        """How far base and shares together are from the output."""
        return abs(self.output - self.base - sum(share.value for share in self.shares))

    def to_json(self) -> Json:
        """`shares` are by column and name; `gap` says how additive they are."""
        return {
            "method": self.method,
            "row": self.row,
            "explains": self.explains,
            "unit": self.unit,
            "output": self.output,
            "base": self.base,
            "shares": [
                {"column": s.column, "name": s.name, "value": s.value, "parts": list(s.numbers)} for s in self.shares
            ],
            "additive": self.additive,
            "gap": self.gap,
            "std_error": self.std_error,
            "asked": self.asked,
            "answer": self.answer,
            "values": self.values,
        }

    def blocks(self) -> Sequence[Block]:
        """The answer in a sentence; texts with their parts coloured; the other columns as a table."""
        largest = max((abs(share.value) for share in self.shares), default=0.0) or 1.0
        found: list[Block] = [Sentence("because", {**self._figures(), "answer": _answered(self.answer)})]
        if not self.shares:
            found.append(Sentence("no_parts", {}))
        table = []
        for column in dict.fromkeys(share.column for share in self.shares):
            shares = [share for share in self.shares if share.column == column]
            if sum(len(share.numbers) for share in shares) > 1 and all(share.at for share in shares):
                found.append(Marked(column, _pieces(str(self.values[column]), shares, largest)))
            table += shares
        table.sort(key=lambda share: -abs(share.value))
        cells = tuple((s.column, _short(s.name), f"{s.value:+.3f}") for s in table[:12])
        weights = tuple(s.value / largest for s in table[:12])
        if cells:
            found.append(Grid(("column", "part", "effect"), cells, weights))
        return found

    def _figures(self) -> Json:
        return {
            "explains": self.explains,
            "unit": self.unit,
            "output": f"{self.output:.3f}",
            "base": f"{self.base:.3f}",
            "method": self.method,
        }


def spans(question: Question, column: str) -> list[tuple[int, int]] | None:
    """Where each part stands in a text, [parts] of (start, stop); None where they are not all found in it."""
    value, at, found = question.values[column], 0, []
    for i in question.groups[column].tolist():
        name = question.parts[i].name
        start = value.find(name, at) if isinstance(value, str) else -1
        if start < 0:
            return None
        at = start + len(name)
        found.append((start, at))
    return found


def _pieces(value: str, shares: Sequence[Share], largest: float) -> tuple[tuple[str, float], ...]:
    """The value in pieces, each part with its weight; what is between parts has none."""
    pieces: list[tuple[str, float]] = []
    at = 0
    for share in sorted(shares, key=lambda share: share.numbers[0]):
        start, stop = share.at or (at, at)
        if start > at:
            pieces.append((value[at:start], 0.0))
        pieces.append((value[start:stop], share.value / largest))
        at = stop
    if at < len(value):
        pieces.append((value[at:], 0.0))
    return tuple(pieces)


def _short(name: str, most: int = 40) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _answered(answer: Json) -> str:
    """The first column of an answer, as text."""
    value = next(iter(answer.values()), "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A parsed value as JSON has it; of bytes what they are."""
    value = shown(value)
    return value if isinstance(value, (str, int, float, bool)) else plain(value)
