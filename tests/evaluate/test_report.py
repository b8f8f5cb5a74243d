"""The report in all its forms: what it says, in both languages, for odd evaluations too."""

from __future__ import annotations

import io
import re
import string
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from luban.evaluate import wording
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.evaluate import evaluate
from luban.evaluate.metrics import METRICS
from luban.evaluate.origins import candidate_rows, data_rows
from luban.evaluate.report import Report, data_facts, train_seconds
from luban.evaluate.terminal import render_leaderboard, render_terminal

from .toy import ToyClasses, ToyNumber, classes_case

pytest.importorskip("sklearn")
CONFIG = EvaluateConfig(num_resamples=200)
LEADERBOARD = [
    {"name": "baseline", "family": "baseline", "status": "trained", "loss": 0.69, "seconds": 0.1, "reason": ""},
    {"name": "trees", "family": "trees", "status": "refused", "loss": None, "seconds": None, "reason": "no `vector`"},
    {"name": "linear", "family": "linear", "status": "trained", "loss": 0.33, "seconds": 5.25, "reason": ""},
]
PREPARE = {
    "rows": {"found": 1200, "kept": 1000, "quarantined": {"label-conflicts": 50, "duplicates": 150}},
    "columns": [{"name": "text", "unreadable": 0, "profile": {"top": ["secret"]}}, {"name": "price", "unreadable": 7}],
    "changes": [{"column": "text", "rule": "unicode", "count": 12, "examples": [{"before": "secret", "after": "x"}]}],
    "split": {"by": "stratified", "rows": {"test": 200, "train": 700, "valid": 100}},
    "notes": ["Column `day`: 3 values cannot be read and count as missing, for instance `secret`: no date."],
}
GATES = (
    {"code": "G001", "title": "Does it beat it?", "status": "passed", "found": "It does.", "todo": ""},
    {"code": "G005", "title": "Is it in budget?", "status": "failed", "found": "12 ms <b>.", "todo": "Raise `p95_ms`."},
)


def report_on(evaluation: dict[str, Any], language: str = "en", **more: Any) -> Report:
    return Report(
        title="reviews",
        project={"name": "reviews", "owner": "team", "purpose": "Route <guests>."},
        data=data_facts(PREPARE),
        training={"chosen": "linear", "loss": "log loss", "leaderboard": LEADERBOARD},
        evaluation=evaluation,
        lineage={"dataset": "d" * 64, "data": {"source": {"fingerprint": "f" * 64, "path": "rows.csv"}}},
        language=language,
        **{"gates": GATES, "costs": {"p95_ms": 0.924, "train_s": 5.35}, **more},
    )


def classes(num_rows: int = 400, num_classes: int = 2, **more: Any) -> dict[str, Any]:
    y, outputs = classes_case(num_rows, num_classes)
    guess = np.zeros_like(outputs)
    guess[:, 0] = 0.1
    labels = [f"<c{i}>" for i in range(num_classes)]
    pair = {"model": outputs, "baseline": guess, "champion": outputs * 0.9}
    return evaluate(ToyClasses(), {"classes": labels, "temperature": 1.2}, y, pair, 0, CONFIG).to_json()


def values(num_rows: int = 200) -> dict[str, Any]:
    y = np.random.default_rng(0).normal(size=num_rows)
    pair = {"model": (y * 0.9)[:, None], "baseline": np.zeros((num_rows, 1))}
    return evaluate(ToyNumber(), {"mean": 50.0, "scale": 10.0, "half_width": 2.0}, y, pair, 0, CONFIG).to_json()


def terminal(report: Report, width: int = 100) -> str:
    out = io.StringIO()
    render_terminal(report, Console(file=out, width=width))
    return out.getvalue()


CASES = {
    "two": lambda: classes(),
    "five": lambda: classes(num_classes=5),
    "many": lambda: classes(num_classes=60),
    "one row": lambda: classes(num_rows=1),
    "values": lambda: values(),
    "one value": lambda: values(1),
}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_every_form_of_every_case(name: str, language: str) -> None:
    report = report_on(CASES[name](), language)
    again = Report.model_validate(report.to_json())
    for form in (Report.to_html, Report.to_markdown, terminal):
        text = form(report)
        assert text == form(again), "a report read back from its JSON says the same"
        assert "None" not in text
        assert "nan" not in text.lower().replace("finance", "")
        assert "{" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_the_verdict_in_plain_words() -> None:
    found = classes()
    accuracy = found["metrics"]["accuracy"]
    said = report_on(found).view.verdict.replace("\u00a0", " ")
    assert f"{accuracy['value']:.1%}".replace("%", " %") in said
    assert "of unseen rows; guessing the most frequent label gives" in said
    assert "off by" in report_on(values()).view.verdict
    assert "未见过" in report_on(found, "zh").view.verdict


def test_a_sentence_where_there_is_no_figure() -> None:
    found = classes()
    found["metrics"]["accuracy"] = {**found["metrics"]["accuracy"], "value": None, "reason": "all is lost"}
    assert report_on(found).view.verdict == ("There is no figure that says how good the model is: all is lost.")


def test_gates_stand_with_what_to_do() -> None:
    report = report_on(classes())
    assert report.view.gate_verdict == "1 of 2 gates stand in the way of a release."
    for text in (report.to_markdown(), terminal(report, 200)):
        assert "G005" in text
        assert "Raise `p95_ms`." in text
    assert "Raise <code>p95_ms</code>." in report.to_html()
    forced = report.model_copy(update={"forced": "A trial."})
    assert forced.view.gate_verdict == "Released in spite of 1 of 2 gates. The reason given: A trial."
    assert report_on(classes(), gates=GATES[:1]).view.gate_verdict == "All gates are passed."
    assert "G001" not in report_on(classes(), gates=()).to_html()


def test_what_comes_from_outside_is_escaped() -> None:
    page = report_on(classes()).to_html()
    for text in ("&lt;c0&gt;", "Route &lt;guests&gt;.", "12 ms &lt;b&gt;."):
        assert text in page
    for text in ("<c0>", "<guests>", "12 ms <b>"):
        assert text not in page
    assert "[bold]" in terminal(report_on(classes(), gates=({**GATES[0], "found": "[bold]"},)))


def test_nothing_from_rows_is_kept() -> None:
    assert "secret" not in str(data_facts(PREPARE))
    assert data_facts(PREPARE)["notes"] == ["Column `day`: 3 values cannot be read and count as missing."]
    assert data_facts(PREPARE)["changes"][0]["count"] == 12


def test_counts_of_rows_add_up_on_the_page() -> None:
    rows = {row.cells[0]: row.cells[1] for row in data_rows(report_on(classes()).view)}
    assert list(rows.items())[:4] == [
        ("Rows read", "1,200"),
        ("Set aside: copies", "− 150"),
        ("Set aside: same input, other label", "− 50"),
        ("Rows kept", "1,000"),
    ]
    assert rows["Values changed by unicode"] == "12"
    assert rows["Values unreadable in price"] == "7"


def test_the_leaderboard_is_in_order_and_marks_the_chosen() -> None:
    rows = candidate_rows(report_on(classes()).view)
    assert [row.cells[0] for row in rows] == ["linear", "baseline", "trees"]
    assert [row.mark for row in rows] == ["chosen", "", ""]
    out = io.StringIO()
    render_leaderboard(report_on(classes()), Console(file=out, width=100))
    assert "no `vector`" in out.getvalue()
    assert train_seconds({"leaderboard": LEADERBOARD}) == pytest.approx(5.35)
    assert train_seconds({}) is None


def test_matrix_for_few_classes_and_mistakes_for_many() -> None:
    few, many = report_on(classes(num_classes=5)).view, report_on(classes(num_classes=60)).view
    assert few.matrix is not None
    labels, lines = few.matrix
    assert len(labels) == 5
    assert sum(cell.rows for line in lines for cell in line) == 400
    assert sum(cell.share for cell in lines[0]) == pytest.approx(1)
    assert many.matrix is None
    assert len(many.mistakes) == 20
    assert len(many.class_rows) == 50


def test_figures_keep_their_place_on_the_page() -> None:
    page = report_on(classes()).to_html()
    for figure in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', figure)[1].split())
        places = re.findall(r' (?:cx|x|x1|x2)="([\d.]+)"', figure), re.findall(r' (?:cy|y|y1|y2)="([\d.]+)"', figure)
        places[0].extend(
            x for points in re.findall(r'points="([^"]+)"', figure) for x in re.findall(r"([\d.]+),", points)
        )
        for found, most in zip(places, (width, height), strict=True):
            assert all(0 <= float(place) <= most for place in found), figure
    bins = sum(bin["num_rows"] > 0 for bin in classes()["calibration"]["bins"])
    models = 3
    assert page.count("<circle") == bins + models


def test_worse_and_chance_are_not_called_better() -> None:
    found = classes()
    one = {"difference": -0.05, "low": -0.08, "high": -0.02, "significant": False, "worse": True}
    found["comparisons"] = {"champion": {**found["comparisons"]["champion"], **one, "mcnemar": None}}
    assert report_on(found).view.comparisons == ["Against the champion, F1, macro is worse by 0.050 (0.020 to 0.080)."]
    one = {"difference": 0.01, "low": -0.02, "high": 0.04, "worse": False}
    found["comparisons"]["champion"].update(one)
    assert report_on(found).view.comparisons == [
        "Against the champion, F1, macro differs by +0.010 (−0.020 to +0.040), maybe by chance."
    ]


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_languages_have_the_same_keys_and_blanks() -> None:
    english, chinese = wording.TEXT["en"], wording.TEXT["zh"]
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert blanks(text) == blanks(chinese[key]), key
    for names in wording.METRIC_NAMES.values():
        assert names.keys() == METRICS.keys()


def test_chinese_texts_have_chinese_punctuation() -> None:
    for key, text in wording.TEXT["zh"].items():
        assert not re.search(r"[\u4e00-\u9fff][,:;()?]|[,:;()?][\u4e00-\u9fff]", text), key


def test_gates_are_read_in_the_language_of_the_report() -> None:
    said = {"key": "gate_rows_shared", "values": {"count": "3", "a": {"key": "split_train", "values": {}},
                                                  "b": {"key": "split_test", "values": {}}}}  # fmt: skip
    gate = {**GATES[1], "says": {"found": [said], "todo": [{"key": "gate_rows_todo", "values": {}}]}}
    assert "3 行同在训练与测试中。" in report_on(classes(), "zh", gates=(gate,)).to_html()
    assert "3 rows are in train and test." in report_on(classes(), gates=(gate,)).to_html()
    assert "12 ms &lt;b&gt;." in report_on(classes(), "zh").to_html(), "what has no key is said as it is"
