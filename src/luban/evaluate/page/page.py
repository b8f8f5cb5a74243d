"""The page: its sections in order, those that have nothing to say left out, laid out as one HTML file.

Decided here: the answer stands first and what to do next after it, for a founder reads no further; every
section names the file that its figures stand in. The style sheet is put into the page: it asks no network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from luban.evaluate.figures import brief, shown, span, tick
from luban.evaluate.page import advice, data, made, reasons, worth, wrong
from luban.evaluate.page.blocks import Block, Section
from luban.evaluate.page.plots import Axis, Span, spans

if TYPE_CHECKING:
    from luban.evaluate.view import View

SECTIONS: tuple[tuple[str, str, Callable[[View], Iterator[Block]], str], ...] = (
    ("asked", "asked", data.asked, "report.json"),
    ("data", "data", data.data, "prepare.json"),
    ("results", "results", wrong.results, "evaluation.json"),
    ("wrong", "wrong", wrong.wrong, "evaluation.json"),
    ("trust", "trust", wrong.trust, "evaluation.json"),
    ("why", "why", reasons.why, "explanation.json"),
    ("costs", "costs", worth.costs, "report.json"),
    ("robustness", "robustness", worth.robustness, "evaluation.json"),
    ("made", "made", made.made, "training.json"),
    ("compression", "compression", made.compression, "training.json"),
)
"""Name, key of the title, what makes its blocks, where its figures stand."""


def sections(view: View) -> list[Section]:
    """All sections that have something to say."""
    found = []
    for name, title, make, source in SECTIONS:
        blocks = list(make(view))
        if blocks:
            found.append(Section(name, view.words[title], blocks, source))
    return found


def headline(view: View) -> Markup | None:
    """The first metric of the model beside the others, with intervals; None where a figure is missing."""
    name = view.telling
    models = [("model", view.evaluation["metrics"])]
    models += [(other, view.evaluation["others"][other]) for other in view.others]
    found = [(who, estimates.get(name)) for who, estimates in models]
    known = [(who, one) for who, one in found if one and one["value"] is not None]
    if len(known) < 2:
        return None
    ends = [one[key] for _, one in known for key in ("value", "low", "high") if one[key] is not None]
    low, high = min(ends), max(ends)
    room = (high - low or abs(high) or 1.0) * 0.08
    axis = Axis("", low - room, high + room, tick)
    if name == "accuracy":
        axis = Axis("", max(low - room, 0.0), min(high + room, 1.0), lambda value: f"{value * 100:.0f} %")
    rows = [
        Span(view.words[who], one["value"], one["low"], one["high"], _written(view, name, one), _mark(who))
        for who, one in known
    ]
    return spans(f"{view.metric(name)}: {view.verdict}", axis, rows)


def _written(view: View, name: str, one: dict[str, Any]) -> str:
    value = view.percent(one["value"]) if name == "accuracy" else shown(one["value"])
    return value if name == "accuracy" or one["low"] is None else f"{value} ({span(one['low'], one['high'])})"


def _mark(who: str) -> str:
    return {"model": "model", "baseline": "other"}.get(who, "third")


def key_figures(view: View) -> list[tuple[str, str, str]]:
    """Figures that stand at the top beside the sentence: what, how much, and beside it."""
    first, rows = view.evaluation["first_metric"], []
    if first != view.telling:
        found = view.evaluation["metrics"][first]
        rows.append((view.metric(first), shown(found["value"]), span(found["low"], found["high"])))
    learnt = view.report.data.get("split", {}).get("rows", {}).get("train")
    if learnt:
        rows.append((view.words["learnt_from"], view.say("unit_rows", rows=f"{learnt:,}"), ""))
    for key, unit in (("p95_ms", "ms"), ("size_mb", "MB"), ("train_s", "s")):
        if view.report.costs.get(key) is not None:
            rows.append((view.words[key], f"{brief(view.report.costs[key])} {unit}", ""))
    return rows


def render(view: View) -> str:
    """The whole page."""
    found = sections(view)
    return str(
        _template().render(
            view=view,
            t=view.words,
            report=view.report,
            css=Markup(_file("report.css")),
            headline=headline(view),
            figures=key_figures(view),
            steps=advice.steps(view),
            sections=found,
            names={section.name for section in found} | ({"gates"} if view.gate_rows else set()),
        )
    )


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["code"] = code
    environment.filters["cell"] = _cell
    return environment.from_string(_file("report.html"))


def _file(name: str) -> str:
    return resources.files("luban.evaluate.page").joinpath(name).read_text("utf-8")


def _cell(text: str) -> Markup:
    """A cell: what stands on its second line explains the first."""
    first, _, about = text.partition("\n")
    return code(first) + Markup("<small>{}</small>").format(about) if about else code(first)


def code(sentence: str) -> Markup:
    """A sentence, escaped, with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))
