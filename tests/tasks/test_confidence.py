"""How sure an answer is, and what its truth says of it, by task."""

from __future__ import annotations

import numpy as np
import pytest

from luban.tasks.base import Judgement, Tolerance
from luban.tasks.binary import Binary, BinaryOptions
from luban.tasks.multiclass import Multiclass
from luban.tasks.ordinal import Ordinal
from luban.tasks.regression import Regression, RegressionOptions
from luban.tasks.tags import Tags, TagsOptions

NONE = Tolerance()
WIDTHS = {"0.5": 1.0, "0.8": 2.0, "0.9": 4.0, "0.95": None, "0.99": None}
NUMBER = {"mean": 0.0, "scale": 1.0, "half_widths": WIDTHS}


def test_a_class_is_as_sure_as_its_probability() -> None:
    decoding = {"classes": ["no", "yes"], "temperature": 1.0, "threshold": 0.9}
    (answer,) = Binary().decode(np.array([[np.log(4.0)]]), decoding, BinaryOptions()).rows()
    assert answer["label"] == "no"
    assert Binary().confidence(answer, decoding, NONE) == pytest.approx(0.2)
    for task in (Binary(), Multiclass(), Ordinal()):
        assert task.unsure(decoding, NONE) is None
        assert task.confidence({"error": "no"}, decoding, NONE) is None
        assert task.judge(answer, "no", NONE) == Judgement(True, 0.0)
        assert task.judge(answer, "yes", NONE) == Judgement(False, 1.0)
        assert task.judge({"error": "no"}, "yes", NONE) == Judgement(None, None)


def test_tags_are_as_sure_as_the_least_sure_decision() -> None:
    decoding = {"classes": ["a", "b"], "temperature": 1.0, "temperatures": [1.0, 1.0], "thresholds": [0.5, 0.5]}
    outputs = np.log([[9.0, 0.25], [4.0, 99.0]])
    first, second = Tags().decode(outputs, decoding, TagsOptions()).rows()
    assert (first["tags"], first["confidence"]) == (["a"], pytest.approx(0.8))
    assert (second["tags"], second["confidence"]) == (["b", "a"], pytest.approx(0.8))
    assert Tags().confidence(first, decoding, NONE) == first["confidence"]
    assert Tags().judge(second, ["a", "b"], NONE) == Judgement(True, 0.0)
    assert Tags().judge(first, ["a", "b"], NONE) == Judgement(False, 0.5)
    assert Tags().judge({"tags": []}, [], NONE) == Judgement(True, 0.0)
    assert Tags().judge(first, "a", NONE) == Judgement(None, None)


@pytest.mark.parametrize(
    ("within", "expected"), [(0.5, 0.25), (1.0, 0.5), (1.5, 0.65), (3.0, 0.85), (4.0, 0.9), (100.0, 0.9)]
)
def test_a_number_is_as_sure_as_its_tolerance_is_wide(within: float, expected: float) -> None:
    (answer,) = Regression().decode(np.array([[10.0]]), NUMBER, RegressionOptions()).rows()
    assert Regression().confidence(answer, NUMBER, Tolerance(within)) == pytest.approx(expected)
    assert Regression().confidence(answer, NUMBER, Tolerance(0, within / 10)) == pytest.approx(expected)


def test_a_number_without_tolerance_says_why_not() -> None:
    assert "say `within`" in (Regression().unsure(NUMBER, NONE) or "")
    assert Regression().confidence({"value": 1.0}, NUMBER, NONE) is None
    assert Regression().unsure(NUMBER, Tolerance(1.0)) is None
    few = {**NUMBER, "half_widths": dict.fromkeys(WIDTHS)}
    assert "too few" in (Regression().unsure(few, Tolerance(1.0)) or "")
    assert Regression().confidence({"value": 1.0}, few, Tolerance(1.0)) is None


def test_the_share_of_truths_within_the_tolerance_is_the_confidence() -> None:
    rng = np.random.default_rng(0)
    residuals = np.sort(np.abs(rng.normal(size=2000)))
    from luban.tasks.regression import LEVELS, half_width

    decoding = {
        "mean": 0.0,
        "scale": 1.0,
        "half_widths": {str(level): half_width(residuals, level) for level in LEVELS},
    }
    errors = np.abs(rng.normal(size=20_000))
    for within in (0.4, 0.9, 1.5, 2.2):
        said = Regression().confidence({"value": 7.0}, decoding, Tolerance(within))
        assert said == pytest.approx(float((errors <= within).mean()), abs=0.06)


def test_numbers_are_judged_by_tolerance_or_interval() -> None:
    answer = {"value": 10.0, "low": 8.0, "high": 12.0}
    assert Regression().judge(answer, 11.5, NONE) == Judgement(True, 1.5)
    assert Regression().judge(answer, 13.0, NONE) == Judgement(False, 3.0)
    assert Regression().judge(answer, 11.5, Tolerance(1.0)) == Judgement(False, 1.5)
    assert Regression().judge({**answer, "low": None, "high": None}, 11.5, NONE) == Judgement(None, 1.5)
    assert Regression().judge(answer, "many", NONE) == Judgement(None, None)
