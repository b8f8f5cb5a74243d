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


def rows_of(kind: str, num_rows: int, seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    if kind == "number":
        value, truth = rng.normal(size=num_rows).round(1), rng.normal(size=num_rows).round(1)
        return Scored(truth, values=value, low=value - 1, high=value + 1)
    num_classes = {"two": 2, "five": 5}[kind]
    # few distinct levels, so that scores tie
    raw = rng.integers(1, 6, (num_rows, num_classes)).astype(float)
    truth = rng.integers(0, num_classes, num_rows)
    return Scored(truth, probabilities=raw / raw.sum(axis=1, keepdims=True))


def repeated(rows: Scored, counts: np.ndarray) -> Scored:
    where = np.repeat(np.arange(len(rows)), counts)
    parts = (rows.probabilities, rows.values, rows.low, rows.high)
    return Scored(rows.truth[where], *(None if part is None else part[where] for part in parts))


@given(st.sampled_from(["two", "five", "number"]), st.integers(1, 40), st.integers(0, 10_000))
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
