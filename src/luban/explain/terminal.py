"""Findings on a terminal: green speaks for the answer, red against it; signs in place of colours elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luban.evaluate.wording import Language
from luban.explain.base import Block, Finding, Grid, Marked, Sentence
from luban.explain.wording import say

if TYPE_CHECKING:
    from rich.console import Console

LEAST = 0.15
"""Weights below this are not marked: not all that is not zero matters."""


def render(findings: Sequence[Finding], language: Language = "en", console: Console | None = None) -> None:
    """Print findings in order."""
    from rich.console import Console

    console = console or Console(soft_wrap=False)
    for finding in findings:
        title = say(language, "model") if finding.row is None else say(language, "row", {"row": finding.row + 1})
        console.print(f"\n[bold]{title}[/bold] [dim]{finding.method}[/dim]", highlight=False)
        for block in finding.blocks():
            _block(console, block, language)


def _block(console: Console, block: Block, language: Language) -> None:
    from rich.table import Table
    from rich.text import Text

    if isinstance(block, Sentence):
        console.print(Text(say(language, block.key, block.values)))
    elif isinstance(block, Marked):
        console.print(_marked(block, console.color_system is not None))
    elif isinstance(block, Grid):
        table = Table(box=None, header_style="bold", pad_edge=False)
        for name in block.head:
            table.add_column(say(language, name), overflow="fold")
        weights = block.weights or (0.0,) * len(block.cells)
        for row, weight in zip(block.cells, weights, strict=True):
            table.add_row(*(Text(cell, style=_style(weight) if cell == row[-1] else "") for cell in row))
        console.print(table)


def _marked(block: Marked, colours: bool) -> object:
    from rich.text import Text

    line = Text(f"{block.column}: ", style="dim")
    for text, weight in block.pieces:
        if colours or abs(weight) < LEAST:
            line.append(text, style=_style(weight) if abs(weight) >= LEAST else "not dim")
        else:
            line.append(f"[{'+' if weight > 0 else '-'}{text}]", style="not dim")
    return line


def _style(weight: float) -> str:
    if not weight:
        return "not dim"
    strong = " bold" if abs(weight) > 0.5 else ""
    return ("green" if weight > 0 else "red") + strong
