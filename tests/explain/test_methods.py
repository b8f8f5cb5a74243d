"""What methods find where the answer is known, and what they make of odd rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from luban.bundle.bundle import Bundle
from luban.catalog import EXPLAINERS
from luban.checks.explainers import made_rows
from luban.errors import ConfigError, DataError
from luban.explain import explain
from luban.explain.attribution import Attribution
from luban.explain.base import Case
from luban.explain.counterfactual import Counterfactual
from luban.explain.path import Way
from luban.explain.permutation import Importance

ROW = {"text": "late parcel, quick order", "number": 1.5, "category": "a"}


def shares(finding: object) -> dict[str, float]:
    assert isinstance(finding, Attribution)
    return {f"{share.column}:{share.name}": share.value for share in finding.shares}


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_words_speak_for_what_they_stand_for(linear: Bundle, method: str) -> None:
    found = shares(explain(linear, [ROW], method, asked="bad")[0])
    assert found["text:late"] > 0.1
    assert found["text:quick"] < -0.1
    other = shares(explain(linear, [ROW], method, asked="good")[0])
    assert all(other[name] == pytest.approx(-value, abs=1e-6) for name, value in found.items())


def test_exact_and_drawn_values_agree(linear: Bundle) -> None:
    exact = explain(linear, [ROW], "shapley", settings={"exact_parts": 12})[0]
    drawn = explain(linear, [ROW], "shapley", settings={"exact_parts": 1, "coalitions": 64})[0]
    assert isinstance(exact, Attribution)
    assert isinstance(drawn, Attribution)
    assert exact.std_error is None
    assert drawn.std_error is not None
    largest = max(map(abs, shares(exact).values()))
    assert all(abs(shares(drawn)[name] - value) < 0.1 * largest for name, value in shares(exact).items())


def test_long_texts_are_opened_where_it_matters(linear: Bundle) -> None:
    words = ["order", "today", "parcel"] * 120
    words[200] = "late"
    (finding,) = explain(linear, [{"text": " ".join(words)}], "shapley", asked="bad", settings={"coalitions": 256})
    assert isinstance(finding, Attribution)
    assert len(finding.shares) <= 32
    assert finding.gap < 1e-3
    best = max(finding.shares, key=lambda share: share.value)
    assert "late" in best.name
    assert len(best.name.split()) <= 60
    numbers = sorted(i for share in finding.shares for i in share.numbers)
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("method", ["occlusion", "shapley"])
def test_one_part_has_all(linear: Bundle, method: str) -> None:
    (finding,) = explain(linear, [{"text": "late"}], method)
    assert isinstance(finding, Attribution)
    assert [share.value for share in finding.shares] == pytest.approx([finding.output - finding.base])


def test_parts_of_a_run_stand_in_the_text(linear: Bundle) -> None:
    text = "late " + "order today, " * 40
    (finding,) = explain(linear, [{"text": text}], "occlusion", settings={"max_parts": 7})
    assert isinstance(finding, Attribution)
    assert len(finding.shares) == 7
    assert all(share.at and text[slice(*share.at)] == share.name for share in finding.shares)
    (marked,) = (block for block in finding.blocks() if hasattr(block, "pieces"))
    assert "".join(piece for piece, _ in marked.pieces) == text


def test_path_limits_are_those_of_the_model(trees: Bundle) -> None:
    row = {"number": 1.0, "other": 0.2}
    (way,) = explain(trees, [row], "path")
    assert isinstance(way, Way)
    before = trees.predict([row]).rows()
    (limit,) = (one for one in way.limits if one.name == "number")
    assert limit.value == 1.0
    ends = [end for end in (limit.low, limit.high) if end is not None]
    assert ends
    if limit.high is not None:
        assert (
            trees.predict([{**row, "number": float(np.nextafter(np.float32(limit.high), np.float32(-9)))}]).rows()
            == before
        )
        assert (
            trees.predict([{**row, "number": float(np.nextafter(np.float32(limit.high), np.float32(9e9)))}]).rows()
            != before
        )
    if limit.low is not None:
        assert (
            trees.predict([{**row, "number": float(np.nextafter(np.float32(limit.low), np.float32(9e9)))}]).rows()
            == before
        )
        assert trees.predict([{**row, "number": limit.low}]).rows() != before


def test_path_wants_trees(linear: Bundle) -> None:
    with pytest.raises(ConfigError, match="does not suit this bundle: its graph is no ensemble of trees"):
        explain(linear, [ROW], "path")


def test_counterfactual_is_an_answer_of_the_bundle(trees: Bundle) -> None:
    rows = made_rows(20, ("number", "other"))
    case = Case.of(trees, rows)
    found = EXPLAINERS.make("counterfactual").explain(replace(case, others=case.values.columns))
    for row, finding in zip(rows, found, strict=True):
        assert isinstance(finding, Counterfactual)
        assert finding.after is not None
        changed = {**row, **{change.column: change.to for change in finding.changes}}
        answer = trees.predict([changed]).rows()[0]
        assert answer == finding.after
        assert answer["label"] != finding.before["label"]


def test_counterfactual_says_where_it_found_none(linear: Bundle) -> None:
    (finding,) = explain(linear, [{**ROW, "text": "order late broken"}], "counterfactual", settings={"tries": 1})
    assert isinstance(finding, Counterfactual)
    assert finding.after is None
    assert finding.to_json()["found"] is False
    assert finding.tries == 1


def test_importance_finds_the_column_that_decides(trees: Bundle) -> None:
    rows = made_rows(80, ("number", "other"))
    case = replace(Case.of(trees, rows), truth=(np.arange(80) % 2).astype(np.float32))
    for measured in (case, replace(case, truth=None)):
        (finding,) = EXPLAINERS.make("permutation").explain(measured)
        assert isinstance(finding, Importance)
        assert finding.columns[0].column == "number"
        assert finding.columns[0].low > finding.columns[1].high
    assert EXPLAINERS.make("permutation").explain(Case.of(trees, [{}]))[0].to_json()["columns"] == []


@pytest.mark.parametrize("model", ["tree", "linear"])
def test_surrogate_states_its_fidelity(linear: Bundle, model: str) -> None:
    rows = made_rows(200, ("text", "number", "category"))
    (finding,) = explain(linear, rows, "surrogate", settings={"model": model})
    found = finding.to_json()
    assert found["fidelity"] > 0.9 > found["chance"]
    assert finding.personal
    said = " ".join(condition for rule in found["rules"] for condition in rule["conditions"])
    assert any(word in said for word in ("late", "cold", "broken", "quick", "fresh", "good", "number", "category"))
    with pytest.raises(DataError, match="learns from rows"):
        explain(linear, rows[:2], "surrogate", settings={"model": model})
