"""What a section of the page is made of: a few kinds of block that the template lays out, whatever they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from luban.evaluate.layout import Cell, Row


@dataclass(frozen=True)
class Text:
    """A sentence or two; `soft` ones explain."""

    text: str
    soft: bool = False
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Figure:
    """A figure with what it says."""

    svg: Markup
    title: str
    note: str = ""
    lines: Sequence[tuple[str, str]] = ()
    """What the curves are, where there are several: how each is drawn (a mark), and its name."""


@dataclass(frozen=True)
class Figures:
    """Figures beside one another where there is room."""

    figures: Sequence[Figure]
    kind: ClassVar[str] = "figures"


@dataclass(frozen=True)
class Table:
    """A table; columns from `right` on hold numbers. The last column is a note where `note` says so."""

    head: Sequence[str]
    rows: Sequence[Row]
    right: int = 1
    note: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Bar:
    """One bar: its length 0 to 1, what is written behind it, and how it is drawn."""

    label: str
    share: float
    written: str
    mark: str = "model"


@dataclass(frozen=True)
class Bars:
    """Bars below one another."""

    bars: Sequence[Bar]
    kind: ClassVar[str] = "bars"


@dataclass(frozen=True)
class Part:
    """One part of a stacked bar."""

    label: str
    share: float
    written: str
    mark: str


@dataclass(frozen=True)
class Stack:
    """One bar in parts, with a legend."""

    parts: Sequence[Part]
    kind: ClassVar[str] = "stack"


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix."""

    corner: str
    labels: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    kind: ClassVar[str] = "matrix"


@dataclass(frozen=True)
class Piece:
    """A piece of a value: how much it speaks for the answer (above 0) or against it, -1 to 1.

    `picture` is a data URI of what is to be looked at; the text then stands for it where nothing can be shown.
    """

    text: str
    weight: float = 0.0
    picture: str = ""

    @property
    def mark(self) -> str:
        """`for`, `against`, or nothing where it says little."""
        return "" if abs(self.weight) < 0.05 else "for" if self.weight > 0 else "against"

    @property
    def strength(self) -> int:
        """0 to 100."""
        return round(min(abs(self.weight), 1.0) * 100)


@dataclass(frozen=True)
class Card:
    """One row to be read: what was answered and what is true, its values in pieces, and what else is known."""

    head: str
    values: Sequence[tuple[str, Sequence[Piece]]]
    foot: str = ""


@dataclass(frozen=True)
class Cards:
    """Rows to be read."""

    cards: Sequence[Card]
    legend: tuple[str, str] | None = None
    kind: ClassVar[str] = "cards"


Block = Text | Heading | Figures | Table | Bars | Stack | Matrix | Cards


@dataclass(frozen=True)
class Section:
    """One section: `name` is its anchor, `source` the file that its figures stand in."""

    name: str
    title: str
    blocks: Sequence[Block]
    source: str = ""
