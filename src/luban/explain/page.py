"""Findings as one self-contained HTML page: no script, no network; lines tell for and against without colours too."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

from luban.evaluate.wording import Language
from luban.explain.base import Block, Finding, Grid, Marked, Sentence
from luban.explain.wording import say


def page(findings: Sequence[Finding], model: str, language: Language = "en") -> str:
    """The page. Holds values of rows where the findings do."""
    import jinja2

    source = resources.files("luban.explain").joinpath("page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source).render(
        language=language,
        title=say(language, "title", {"model": model}),
        cards=[_card(finding, language) for finding in findings],
        speaks_for=say(language, "for"),
        speaks_against=say(language, "against"),
    )


def _card(finding: Finding, language: Language) -> dict[str, Any]:
    title = say(language, "model") if finding.row is None else say(language, "row", {"row": finding.row + 1})
    return {"title": title, "method": finding.method, "blocks": [_block(b, language) for b in finding.blocks()]}


def _block(block: Block, language: Language) -> dict[str, Any]:
    if isinstance(block, Sentence):
        return {"kind": "sentence", "text": say(language, block.key, block.values)}
    if isinstance(block, Marked):
        return {
            "kind": "marked",
            "column": block.column,
            "pieces": [{"text": text, **_mark(weight)} for text, weight in block.pieces],
        }
    assert isinstance(block, Grid)
    weights = block.weights or (0.0,) * len(block.cells)
    rows = [{"cells": cells, **_mark(weight)} for cells, weight in zip(block.cells, weights, strict=True)]
    return {"kind": "grid", "head": [say(language, name) for name in block.head], "rows": rows}


def _mark(weight: float) -> dict[str, Any]:
    """Class and strength (0 to 100) of a weight."""
    strength = round(min(abs(weight), 1.0) * 100)
    return {"mark": "" if strength < 5 else "for" if weight > 0 else "against", "strength": strength}
