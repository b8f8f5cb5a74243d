"""The pieces that a report's tables and figures are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of a table: cells, and how it stands out ("", "chosen", "passed", "failed")."""

    cells: tuple[str, ...]
    mark: str = ""


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix: rows, and its share of the line, 0 to 1."""

    rows: int
    share: float
    right: bool
