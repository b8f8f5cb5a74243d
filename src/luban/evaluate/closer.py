"""The closer look for forms without plots: selective answers, slices, money and robustness, as blocks.

The same blocks as the page's, for the terminal and Markdown. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from luban.evaluate.page import phrases
from luban.evaluate.page.blocks import Block, Heading, Text
from luban.evaluate.page.worth import money, robustness
from luban.evaluate.page.wrong import slices
from luban.evaluate.view import View


def closer(view: View) -> Iterator[Block]:
    """What was looked at, section after section; nothing where nothing was."""
    found = (view.evaluation.get("curves") or {}).get("coverage_risk")
    answered = [one for one in (found or {}).get("answered", []) if one["share"] < 0.999]
    if answered:
        yield Heading(view.words["coverage_risk"])
        yield Text(view.words["coverage_risk_note"], soft=True)
        yield Text(view.words["semicolon"].join(phrases.answered(view, one) for one in answered))
    yield from slices(view)
    yield from money(view)
    if view.evaluation.get("robustness"):
        yield Heading(view.words["robustness"])
        yield from robustness(view)
