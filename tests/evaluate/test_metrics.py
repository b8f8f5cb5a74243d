"""Metrics: scikit-learn's figure and its resampled twin agree, and odd test sets get reasons."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.errors import UnknownName
from luban.evaluate.calibration import expected_calibration_error, reliability
from luban.evaluate.metrics import METRICS, Undefined, metric
from luban.evaluate.resampled import Draws
from luban.evaluate.scored import Scored

pytest.importorskip("sklearn")
KINDS = ["two", "five", "ranks", "tags", "one of tags", "number"]


def rows_of(kind: str, num_rows: int, seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    if kind == "number":
        value, truth = rng.normal(size=num_rows).round(1), rng.normal(size=num_rows).round(1)
        return Scored(truth, values=value, low=value - 1, high=value + 1)
    if kind.endswith("tags"):
        shape = num_rows, 1 if kind == "one of tags" else 3
        truth, found = rng.integers(0, 2, shape), rng.integers(0, 6, shape) / 5
        return Scored(truth, tags=found, answered=found >= np.array([0.5, 0.2, 0.7])[: shape[1]])
    num_classes = {"two": 2, "five": 5, "ranks": 4}[kind]
    # few distinct levels, so that scores tie
    raw = rng.integers(1, 6, (num_rows, num_classes)).astype(float)
    truth = rng.integers(0, num_classes, num_rows)
    answered = rng.integers(0, num_classes, num_rows) if kind == "ranks" else None
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return Scored(truth, probabilities=probabilities, answered=answered, ordered=kind == "ranks")


def repeated(rows: Scored, counts: np.ndarray) -> Scored:
    return rows.take(np.repeat(np.arange(len(rows)), counts))


@given(
    st.sampled_from(["two", "five", "ranks", "tags", "one of tags", "number"]),
    st.integers(1, 40),
    st.integers(0, 10_000),
)
@settings(max_examples=60, deadline=None)
def test_a_resample_equals_scikit_learn_on_the_rows_drawn(kind: str, num_rows: int, seed: int) -> None:
    rows = rows_of(kind, num_rows, seed)
    counts = np.bincount(np.random.default_rng(seed + 1).integers(0, num_rows, num_rows), minlength=num_rows)
    draws = Draws(rows, np.stack([np.ones(num_rows), counts]).astype(float))
    for name, found in METRICS.items():
        if found.needs not in rows.has:
            continue
        for position, drawn in enumerate((rows, repeated(rows, counts))):
            twin = found.resampled(draws)[position]
            try:
                assert twin == pytest.approx(found.value(drawn), abs=1e-9), name
            except Undefined:
                assert np.isnan(twin), name


def test_known_figures() -> None:
    rows = Scored(np.array([0, 0, 1, 1]), probabilities=np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]))
    assert METRICS["accuracy"].value(rows) == 0.75
    assert METRICS["precision"].value(rows) == pytest.approx(2 / 3)
    assert METRICS["recall"].value(rows) == 1.0
    assert METRICS["roc_auc"].value(rows) == 1.0
    assert METRICS["brier"].value(rows) == pytest.approx((0.01 + 0.36 + 0.09 + 0.04) / 4)


def test_known_figures_of_tags() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0], [0, 0]])
    answered = np.array([[1, 0], [1, 0], [0, 0], [0, 1]], bool)
    rows = Scored(truth, tags=np.array([[0.9, 0.1], [0.8, 0.6], [0.1, 0.2], [0.3, 0.9]]), answered=answered)
    assert METRICS["subset_accuracy"].value(rows) == 0.5
    assert METRICS["hamming_loss"].value(rows) == 0.25
    assert METRICS["f1_micro"].value(rows) == pytest.approx(2 * 2 / (3 + 3))
    assert METRICS["f1_macro"].value(rows) == 0.5
    assert METRICS["f1_samples"].value(rows) == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
    assert METRICS["pr_auc"].value(rows) == pytest.approx((1 + 0.5) / 2)
    assert rows.right.tolist() == [True, False, True, False]
    assert rows.confidence.tolist() == pytest.approx([0.9, 0.4, 0.8, 0.7])
    assert "accuracy" not in {name for name, found in METRICS.items() if found.needs in rows.has}


def test_known_figures_of_ranks() -> None:
    truth, answered = np.array([0, 1, 2, 2]), np.array([0, 2, 2, 1])
    rows = Scored(truth, probabilities=np.eye(3)[answered], answered=answered, ordered=True)
    assert METRICS["rank_mae"].value(rows) == 0.5
    assert METRICS["quadratic_kappa"].value(rows) == pytest.approx(1 - 0.5 / 1.375)
    alike = Scored(np.zeros(2, int), probabilities=np.eye(3)[[0, 0]], ordered=True)
    with pytest.raises(Undefined, match="one class"):
        METRICS["quadratic_kappa"].value(alike)


def test_rows_without_tags_have_no_f1() -> None:
    rows = Scored(np.zeros((3, 2), int), tags=np.full((3, 2), 0.1))
    for name in ("f1_micro", "f1_macro", "pr_auc", "roc_auc"):
        with pytest.raises(Undefined):
            METRICS[name].value(rows)
    assert METRICS["f1_samples"].value(rows) == 1.0


def test_one_class_has_no_ranking() -> None:
    rows = Scored(np.zeros(3, int), probabilities=np.full((3, 2), 0.5))
    with pytest.raises(Undefined, match="one class"):
        METRICS["roc_auc"].value(rows)
    with pytest.raises(Undefined, match="second class"):
        METRICS["recall"].value(rows)


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    rows = Scored(np.array([0, 1]), probabilities=np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert np.isfinite(METRICS["log_loss"].value(rows))


def test_calibration_error_of_overconfidence() -> None:
    # always 90 % sure, right half the time
    rows = Scored(np.array([0, 1] * 50), probabilities=np.tile([0.9, 0.1], (100, 1)))
    assert expected_calibration_error(rows) == pytest.approx(0.4)
    filled = [bin for bin in reliability(rows) if bin.num_rows]
    assert len(filled) == 1
    assert (filled[0].confidence, filled[0].accuracy) == (pytest.approx(0.9), 0.5)


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean `accuracy`"):
        metric("acuracy")


def test_areas_over_very_many_classes_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    rng = np.random.default_rng(0)
    truth, found = (rng.random((80, 60)) < 0.1).astype(int), rng.integers(0, 9, (80, 60)) / 8
    rows = Scored(truth, tags=found)
    told = [number for number in range(60) if 0 < truth[:, number].sum() < 80]
    for name, score in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        expected = np.mean([score(truth[:, number], found[:, number]) for number in told])
        assert METRICS[name].value(rows) == pytest.approx(expected, abs=1e-9)
