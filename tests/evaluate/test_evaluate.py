"""`evaluate`: intervals, comparisons and odd test sets, through two toy tasks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from luban.catalog import canonical
from luban.errors import DataError
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.evaluate import evaluate
from luban.evaluate.metrics import METRICS
from luban.evaluate.records import Evaluation

from .toy import ToyClasses, ToyNumber, classes_case

pytest.importorskip("sklearn")
CONFIG = EvaluateConfig(num_resamples=200)


def classify(num_rows: int, num_classes: int = 2, skill: float = 1.5, **more: np.ndarray) -> Evaluation:
    y, outputs = classes_case(num_rows, num_classes, skill=skill)
    guess = np.zeros_like(outputs)
    guess[:, 0] = 0.1
    decoding = {"classes": [f"c{i}" for i in range(num_classes)], "temperature": 1.5}
    return evaluate(ToyClasses(), decoding, y, {"model": outputs, "baseline": guess, **more}, 7, CONFIG)


def test_a_good_model_beats_its_baseline_and_intervals_hold_the_value() -> None:
    found = classify(600)
    for name, estimate in found.metrics.items():
        assert estimate.value is not None, name
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.high
    accuracy = found.metrics["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high  # type: ignore[operator]
    comparison = found.comparisons["baseline"]
    assert comparison.significant
    assert not comparison.worse
    assert comparison.metric == found.first_metric == "f1_macro"
    assert comparison.mcnemar is not None
    assert comparison.mcnemar.p_value < 0.01


def test_the_interval_of_accuracy_is_near_the_normal_one() -> None:
    y, outputs = classes_case(2000, 2)
    found = evaluate(ToyClasses(), {}, y, {"model": outputs, "baseline": -outputs}, 1, EvaluateConfig())
    accuracy = found.metrics["accuracy"]
    assert accuracy.value is not None
    expected = 2 * 1.96 * np.sqrt(accuracy.value * (1 - accuracy.value) / 2000)
    assert accuracy.high - accuracy.low == pytest.approx(expected, rel=0.15)  # type: ignore[operator]


def test_a_champion_as_good_is_neither_better_nor_worse() -> None:
    _, outputs = classes_case(600, 2)
    found = classify(600, champion=outputs.copy())
    comparison = found.comparisons["champion"]
    assert (comparison.difference, comparison.low, comparison.high) == (0.0, 0.0, 0.0)
    assert not comparison.significant
    assert not comparison.worse
    assert comparison.mcnemar is not None
    assert comparison.mcnemar.p_value == 1.0


def test_a_worse_model_is_called_worse() -> None:
    y, outputs = classes_case(600, 2)
    found = evaluate(ToyClasses(), {}, y, {"model": -outputs, "baseline": outputs}, 1, CONFIG)
    assert found.comparisons["baseline"].worse
    assert not found.comparisons["baseline"].significant


def test_lower_is_better_turns_the_difference() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    good = (y + rng.normal(size=300) * 0.1)[:, None]
    decoding = {"mean": 50.0, "scale": 10.0, "half_width": 2.0}
    found = evaluate(ToyNumber(), decoding, y, {"model": good, "baseline": np.zeros((300, 1))}, 1, CONFIG)
    assert found.metrics["rmse"].value == pytest.approx(1.0, abs=0.15), "in units of the target"
    assert found.comparisons["baseline"].difference == pytest.approx(9, abs=1.5)
    assert found.comparisons["baseline"].significant
    assert found.comparisons["baseline"].mcnemar is None
    assert found.coverage is not None
    assert (found.coverage.promised, found.coverage.mean_width) == (0.9, pytest.approx(4.0))
    assert found.metrics["coverage"].value == pytest.approx(0.95, abs=0.04)
    assert found.confusion is None
    assert found.classes == ()


@pytest.mark.parametrize(("num_rows", "num_classes"), [(1, 2), (1, 3), (2, 2), (5, 500), (800, 500)])
def test_tiny_and_wide_test_sets(num_rows: int, num_classes: int) -> None:
    found = classify(num_rows, num_classes)
    text = json.dumps(found.to_json(), allow_nan=False)
    assert Evaluation.model_validate_json(text) == found
    for estimate in found.metrics.values():
        assert estimate.value is not None or estimate.reason
    assert found.confusion is not None
    assert sum(rows for _, _, rows in found.confusion.cells) == num_rows
    assert sum(scores.support for scores in found.classes) == num_rows


def test_a_test_set_of_one_class_says_why_there_is_no_ranking() -> None:
    outputs = np.linspace(-1, 1, 20)[:, None]
    found = evaluate(ToyClasses(), {}, np.zeros(20), {"model": outputs, "baseline": outputs * 0 - 1}, 0, CONFIG)
    assert found.metrics["roc_auc"].value is None
    assert found.metrics["roc_auc"].reason == "all test rows are of one class"
    assert found.metrics["accuracy"].value == 0.5
    assert found.classes[1].recall is None


def test_a_model_that_errs_nowhere_is_not_sure_to_err_nowhere() -> None:
    y = np.tile([0, 1], 10)
    perfect = ((2 * y - 1) * 9.0)[:, None]
    found = evaluate(ToyClasses(), {}, y, {"model": perfect, "baseline": perfect * 0}, 0, CONFIG)
    accuracy = found.metrics["accuracy"]
    assert (accuracy.value, accuracy.high) == (1.0, 1.0)
    assert accuracy.low == pytest.approx(0.8389, abs=1e-3), "Wilson's interval of 20 of 20"


def test_one_row_of_a_constant_number() -> None:
    y = np.array([0.5])
    decoding = {"mean": 0.0, "scale": 1.0}
    found = evaluate(ToyNumber(), decoding, y, {"model": y[:, None], "baseline": y[:, None]}, 0, CONFIG)
    assert found.metrics["r2"].value is None
    assert found.metrics["rmse"].value == 0.0
    assert "coverage" not in found.metrics


def test_same_seed_same_bytes_other_seed_other_intervals() -> None:
    y, outputs = classes_case(300, 3)
    pair = {"model": outputs, "baseline": outputs * 0}
    first, again, other = (evaluate(ToyClasses(), {}, y, pair, seed, CONFIG) for seed in (1, 1, 2))
    assert canonical(first.to_json()) == canonical(again.to_json())
    assert first.metrics["accuracy"].value == other.metrics["accuracy"].value
    assert first.metrics["accuracy"].low != other.metrics["accuracy"].low


def test_temperature_changes_calibration_only_after() -> None:
    hot = classify(600)
    assert hot.calibration is not None
    assert hot.calibration.temperature == 1.5
    assert hot.calibration.ece_before != hot.calibration.ece_after
    assert hot.calibration.ece_after == hot.metrics["ece"].value


def test_the_champion_answers_with_its_own_decoding() -> None:
    y = np.random.default_rng(0).normal(size=50)
    pair = {"model": y[:, None], "baseline": y[:, None] * 0, "champion": (y[:, None] * 10 + 3 - 6) / 7}
    decoding = {"mean": 3.0, "scale": 10.0}
    found = evaluate(ToyNumber(), decoding, y, pair, 0, CONFIG, champion_decoding={"mean": 6.0, "scale": 7.0})
    assert found.others["champion"]["rmse"].value == pytest.approx(0.0, abs=1e-9)


def test_the_truth_does_not_depend_on_who_is_judged() -> None:
    y, outputs = classes_case(50, 2)
    found = evaluate(ToyClasses(), {}, y, {"model": outputs, "baseline": outputs}, 0, CONFIG)
    assert found.others["baseline"] == found.metrics


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"model": np.zeros((3, 1))}, "must have `baseline`"),
        ({"model": np.zeros((2, 1)), "baseline": np.zeros((3, 1))}, "must have 3 rows"),
        ({"model": np.full((3, 1), np.nan), "baseline": np.zeros((3, 1))}, "must be finite"),
        ({"model": np.zeros((3, 1)), "baseline": np.zeros((3, 4))}, "must know 2 classes"),
    ],
)
def test_what_does_not_fit_is_refused(outputs: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(ToyClasses(), {}, np.zeros(3), outputs, 0, CONFIG)


def test_no_rows_are_refused() -> None:
    empty = np.zeros((0, 1))
    with pytest.raises(DataError, match="at least one row"):
        evaluate(ToyClasses(), {}, np.zeros(0), {"model": empty, "baseline": empty}, 0, CONFIG)


def test_every_metric_that_fits_is_measured() -> None:
    suited = {name for name, metric in METRICS.items() if metric.needs in ("probabilities", "answers")}
    assert set(classify(50).metrics) == suited


def test_of_two_classes_the_second_is_answered_from_the_threshold_on() -> None:
    outputs = np.array([[0.0], [-1.0], [2.0], [2.0]])
    pair = {"model": outputs, "baseline": outputs}
    y = np.array([1, 0, 0, 1])
    for threshold, right in ((0.5, 3), (0.2, 2), (None, 2)):
        decoding = {} if threshold is None else {"threshold": threshold}
        found = evaluate(ToyClasses(), decoding, y, pair, 0, CONFIG)
        assert found.metrics["accuracy"].value == right / 4
