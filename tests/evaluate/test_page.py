"""The page: every section where its figures are, none where they are not, in both languages; small with 500 classes."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.evaluate.config import CostsConfig
from luban.evaluate.costs import costs
from luban.evaluate.curves import curves
from luban.evaluate.cutting import _plain
from luban.evaluate.findings import Findings, Perturbed, Robustness, Slice, Slices
from luban.evaluate.page import advice, page
from luban.evaluate.page.phrases import slice_name
from luban.evaluate.page.plots import Axis, Line, Span, chart, spans, ticks
from luban.evaluate.page.reasons import pieces
from luban.evaluate.report import Report
from luban.evaluate.scored import scored, truth_of
from luban.evaluate.view import View

from .test_report import classes, report_on, values
from .toy import ToyClasses, ToyNumber, classes_case

pytest.importorskip("sklearn")

SLICE = Slice(
    column="text", by="length", label="≤ 26", num_rows=90, value=0.61, low=0.5, high=0.7, difference=-0.2,
    difference_low=-0.3, difference_high=-0.1, p_value=0.001, q_value=0.004, significant=True,
)  # fmt: skip
TYPOS = Perturbed(
    name="typos", columns=("text",), num_rows=300, num_refused=0, changed=0.14, changed_low=0.1, changed_high=0.19,
    moved=None, before=0.85, after=0.74, difference=-0.11, low=-0.15, high=-0.07, significant=True,
)  # fmt: skip
EXPLANATION = {
    "methods": [
        {"method": "permutation", "finding": {"columns": [
            {"column": "text", "value": 1.4, "low": 1.3, "high": 1.5},
            {"column": "city", "value": 0.0, "low": -0.1, "high": 0.1}]}},
        {"method": "shapley", "faithfulness": {"beats_chance": True, "sees_the_model": True,
            "deletion": {"value": 1.6, "low": 1.4, "high": 1.9}, "insertion": {"value": 2.0, "low": 1.6, "high": 2.5},
            "random_model": {"value": 0.0, "low": -0.1, "high": 0.1}}},
        {"method": "gradients", "refused": "there is no checkpoint"},
    ],
}  # fmt: skip
EXPLAINED = {
    "findings": [
        {"row": 3, "row_id": "ab" * 16, "answer": {"confidence": 0.9, "label": "<c1>"}, "explains": "<c1>",
         "values": {"text": "not <b>bad</b>", "price": None},
         "shares": [{"column": "text", "name": "not", "parts": [0], "value": 1.0},
                    {"column": "text", "name": "bad", "parts": [3], "value": -2.0},
                    {"column": "price", "name": "", "parts": [0], "value": 0.1}]},
        {"row": 4, "error": "there is no text"},
    ],
}  # fmt: skip
WRONG = {"row_id": "cd" * 16, "inputs": {"text": "half <i>good</i>", "price": None}, "truth": "<c0>", "answer": "<c1>",
         "confidence": 0.97, "truth_confidence": 0.03, "error": None}  # fmt: skip
ERRORS = {"num_rows": 400, "num_wrong": 60, "worst": [WRONG], "num_suspects": 30,
          "suspects": [{**WRONG, "row_id": "ef" * 16}]}  # fmt: skip
TIMES = {"value": 0.4, "low": 0.38, "high": 0.42}
TRAINING: dict[str, Any] = {
    "chosen": "linear", "loss": "log loss", "time_budget_s": 60,
    "leaderboard": [
        {"name": "baseline", "family": "baseline", "status": "trained", "loss": 0.69, "seconds": 0.1, "reason": ""},
        {"name": "linear", "family": "linear", "status": "trained", "loss": 0.33, "seconds": 5.25, "reason": ""},
        {"name": "trees", "family": "trees", "status": "skipped", "loss": None, "seconds": None,
         "reason": "time_budget_s (60) spent"},
    ],
    "fit": {"train_loss": 0.1, "valid_loss": 0.33, "train_rows": 700, "valid_rows": 100},
    "learning_curve": [{"rows": n, "loss": loss, "low": loss - 0.03, "high": loss + 0.03}
                       for n, loss in ((88, 0.45), (175, 0.4), (350, 0.37), (700, 0.33))],
    "more_rows": {"verdict": "helps", "gain": 0.04, "low": 0.02, "high": 0.06, "sentence": "More would help."},
    "stability": {"seeds": [0, 1, 2], "losses": [0.33, 0.34, 0.32], "spread": 0.01, "changed": 0.02,
                  "ever_changed": 0.03, "difference": None},
    "tuning": {"family": "linear", "best": "linear#3", "best_yaml": "{kind: linear, c: 3.0}",
               "trials": [{"name": f"linear#{i}", "status": "trained", "loss": loss}
                          for i, loss in enumerate((0.5, 0.4, 0.33, 0.36))]},
    "compression": {"chosen": "int8", "max_drop": 0.01, "tried": [
        {"method": "int8", "status": "accepted", "code": "faster", "reason": "It is faster.", "metric": "accuracy",
         "before": 0.9, "after": 0.895, "drop": 0.005, "moved": 0, "asked": 64, "size_mb": [8.0, 2.2],
         "row": TIMES, "batch": {**TIMES, "rows": 64}},
        {"method": "int4", "status": "refused", "code": "failed", "reason": "It cannot be quantised."}]},
}  # fmt: skip


def deep(num_classes: int = 2, **more: Any) -> dict[str, Any]:
    """An evaluation of classes with all findings."""
    y, outputs = classes_case(400, num_classes)
    labels = tuple(f"<c{i}>" for i in range(num_classes))
    decoding = {"classes": list(labels), "temperature": 1.2}
    rows = scored(ToyClasses(), decoding, truth_of(ToyClasses(), decoding, y, outputs), outputs)
    found = Findings(
        curves=curves(rows, labels, 0.95),
        slices=Slices(figure="accuracy", higher_is_better=True, value=0.81, level=0.95, least_rows=30, num_looked_at=12,
                      num_small=0, num_worse=1, slices=(SLICE,), method="…"),
        costs=costs(CostsConfig(per_error={"*->*": 10.0}, per_right={"*": 1.0}, review=2.0), labels, rows, rows, 0.95),
        robustness=Robustness(figure="accuracy", higher_is_better=True, level=0.95, num_rows=300, perturbed=(TYPOS,),
                              method="…"),
    )  # fmt: skip
    return {**classes(400, num_classes), **found.to_json(), **more}


def number() -> dict[str, Any]:
    """An evaluation of a number with its residuals."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    outputs = (0.8 * y + rng.normal(size=300) * 0.3)[:, None]
    decoding = {"mean": 50.0, "scale": 10.0}
    rows = scored(ToyNumber(), decoding, truth_of(ToyNumber(), decoding, y, outputs), outputs)
    return {**values(300), **Findings(curves=curves(rows, (), 0.95)).to_json()}


def full(language: str = "en", **more: Any) -> Report:
    settings = {"training": TRAINING, "explanation": EXPLANATION, "suspects": 30}
    report = report_on(more.pop("evaluation", None) or deep(), language, **more)
    return report.model_copy(update=settings)


ROWS = {"errors": ERRORS, "explained": EXPLAINED}
ALL = {"asked", "data", "results", "wrong", "trust", "why", "costs", "robustness", "made", "compression"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_section_where_its_figures_are(language: str) -> None:
    report = full(language)
    assert {section.name for section in page.sections(View(report, ROWS))} == ALL
    text = report.to_html(ROWS)
    assert "None" not in text
    assert not re.search(r"\bnan\b", text)
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert links <= set(re.findall(r'id="([^"]+)"', text)), "every link leads to a section"
    for part in ("&lt;c1&gt;", "&lt;b&gt;", "half &lt;i&gt;good", "not kept" if language == "en" else "未采用"):
        assert part in text
    assert "<c1>" not in text
    assert "<b>bad" not in text


def test_days_of_the_week_in_words() -> None:
    one = {"column": "day", "by": "weekday", "label": "Wed"}
    assert [slice_name(full(language).view, one) for language in ("en", "zh")] == ["day: Wednesdays", "day：星期三"]


def test_none_where_they_are_not() -> None:
    report = report_on(classes())
    assert {section.name for section in page.sections(report.view)} == {
        "asked",
        "data",
        "results",
        "wrong",
        "trust",
        "costs",
        "made",
    }
    assert "half &lt;i" not in full().to_html(), "no row stands on a page without rows"
    assert "half <i" not in full().to_markdown()


def test_a_number_has_residuals() -> None:
    text = full(evaluation=number()).to_html()
    assert "Predicted and true" in text
    assert "How far off" in text
    assert text.count('class="bar model"') > 5


def test_steps_are_ranked_and_lead_to_their_figures() -> None:
    report = full(
        gates=({"code": "G005", "title": "In budget?", "status": "failed", "found": "12 ms.", "todo": "Raise it."},)
    )
    found = advice.steps(report.view)
    assert found[0].todo == "Raise it."
    assert [step.weight for step in found] == sorted((step.weight for step in found), reverse=True)
    assert {step.section for step in found} <= ALL | {"gates"}
    todo = " ".join(step.todo for step in found)
    for word in (
        "Collect more rows like these",
        "labels that the model doubts",
        "how rows are to be labelled",
        "length ≤ 26",
    ):
        assert word in todo
    assert report.to_html().index("Raise it.") < report.to_html().index("What was asked")


def test_nothing_to_do_is_said() -> None:
    evaluation = classes()
    evaluation["calibration"]["ece_after"] = 0.0
    evaluation["metrics"]["accuracy"] |= {"low": 0.8, "high": 0.82}
    report = report_on(evaluation, gates=()).model_copy(
        update={"data": {}, "training": {**TRAINING, "leaderboard": []}}
    )
    quiet = report.model_copy(update={"training": {"chosen": "x", "loss": "log loss", "leaderboard": []}})
    assert advice.steps(quiet.view) == []
    assert "Nothing presses" in quiet.to_html()
    assert "Collect more rows" in report.to_html()


def test_a_slice_that_is_better_is_no_advice() -> None:
    evaluation = deep()
    evaluation["slices"]["slices"][0] |= {"difference": 0.2, "value": 0.95}
    assert "length" not in " ".join(step.todo for step in advice.steps(full(evaluation=evaluation).view))


def test_five_hundred_classes() -> None:
    evaluation = classes(3000, 500)
    names = [one["label"] for one in evaluation["classes"]]
    report = full(evaluation=evaluation)
    report = report.model_copy(update={"data": {**report.data, "class_counts": dict.fromkeys(names, 6)}})
    text = report.to_html(ROWS)
    assert len(text.encode()) <= 2_000_000
    assert "480 more classes" in text
    assert "The first 50 of 500" in text


def test_curves_stay_small() -> None:
    line = Line("", [(i / 200, (i / 200) ** 2) for i in range(201)])
    axis = Axis("x", 0, 1, str)
    assert len(chart("t", axis, axis, [line])) < 4000


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6))
def test_ticks_lie_within(low: float, width: float) -> None:
    found = ticks(low, low + width)
    slack = 1e-6 * (abs(low) + width)
    assert all(low - slack <= tick <= low + width + slack for tick in found)
    assert len(found) <= 8
    assert found == sorted(found)


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(0, 5)), min_size=1, max_size=5))
def test_spans_stay_on_their_figure(found: list[tuple[float, float]]) -> None:
    rows = [Span("a", value, value - half, value + half, "") for value, half in found]
    axis = Axis("", min(row.low for row in rows), max(row.high for row in rows), str)
    text = spans("t", axis, rows)
    for place in re.findall(r'(?:cx|x1|x2)="(-?[\d.]+)"', text):
        assert 0 <= float(place) <= 340


@given(st.text(min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_pieces_are_the_text(text: str, cuts: list[int]) -> None:
    """Whatever is highlighted, the text stays the same."""
    places = sorted({min(cut, len(text)) for cut in cuts})
    shares = [
        {"name": text[a:b], "parts": [number], "value": 1.0}
        for number, (a, b) in enumerate(itertools.pairwise(places))
        if b > a
    ]
    assert "".join(piece.text for piece in pieces(text, shares, 1.0)) == text


def test_explained_values_are_plain_and_masked() -> None:
    share = {"column": "text", "name": "room", "value": 0.5, "parts": [1]}
    values = {"text": "room, call 138 0013 8000", "phone": 13836436146.0, "stars": 5.0}
    found = {"explains": "good", "answer": {"label": "good"}, "values": values, "shares": [share], "row_id": "r"}
    said = full().to_html({"explained": {"findings": [found]}})
    assert "8000" not in said
    assert "13836436146" not in said
    assert "room, call [phone]" in said
    assert "</b>5</p>" in said


def test_curves_of_several_have_a_legend_and_slices_read_well() -> None:
    several = full(evaluation=deep(3))
    assert several.to_html().count('<ul class="legend"><li><i class="model">') >= 2
    assert "·" in several.to_markdown()
    assert _plain(13_874_321_000.0) == "13,870,000,000"
    above = {"by": "value", "column": "price", "label": "> 12"}
    assert slice_name(several.view, above) == "price > 12"
    assert slice_name(several.view, {**above, "label": "12"}) == "price = 12"


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("model", ["itself", "before", "learnt"])
def test_which_rows_importance_was_measured_on(language: str, model: str) -> None:
    permutation, *others = EXPLANATION["methods"]
    told = {"methods": [{**permutation, "model": model}, *others]}
    report = full(language).model_copy(update={"explanation": told})
    rows = {**ROWS, "explained": {**EXPLAINED, "model": model}}
    text, words = report.to_html(rows), report.view.words
    said = [one for one in ("itself", "before", "learnt") if words[f"importance_{one}"].strip() in text]
    assert said == [model]
    assert (words["examples_learnt"] in text) == (model == "learnt")
