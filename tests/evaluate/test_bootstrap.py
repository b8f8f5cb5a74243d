"""Resamples of rows, and of rows that hang together."""

from __future__ import annotations

import numpy as np
import pytest

from luban.evaluate.bootstrap import draws_of
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.evaluate import evaluate

from .toy import ToyClasses, classes_case

pytest.importorskip("sklearn")
CONFIG = EvaluateConfig(num_resamples=400)


def test_clusters_are_drawn_or_left_as_one() -> None:
    clusters = np.array([0, 0, 1, 2, 2, 2])
    drawn = np.concatenate(list(draws_of(6, 500, 0, clusters)))
    assert drawn.shape == (500, 6)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 3] == drawn[:, 5]).all()
    assert (drawn[:, [0, 2, 3]].sum(axis=1) == 3).all(), "as many clusters as there are"
    assert drawn.sum(axis=1).min() < 6 < drawn.sum(axis=1).max(), "of unequal size, so rows vary"


def test_rows_alone_are_drawn_as_before() -> None:
    assert all((piece.sum(axis=1) == 7).all() for piece in draws_of(7, 50, 0))


def widths(clusters: np.ndarray | None) -> float:
    y, outputs = classes_case(200, 2)
    y, outputs = np.repeat(y, 9), np.repeat(outputs, 9, axis=0)
    found = evaluate(ToyClasses(), {}, y, {"model": outputs, "baseline": outputs * 0}, 0, CONFIG, None, clusters)
    accuracy = found.metrics["accuracy"]
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert ("hang together" in found.method) == (clusters is not None)
    return accuracy.high - accuracy.low


def test_nine_copies_of_a_row_are_no_more_than_one() -> None:
    assert widths(np.repeat(np.arange(200), 9)) / widths(None) == pytest.approx(3, rel=0.2)


def test_rows_of_one_subject_have_no_interval_and_say_why() -> None:
    y, outputs = classes_case(50, 2)
    pair = {"model": outputs, "baseline": outputs * 0}
    found = evaluate(ToyClasses(), {}, y, pair, 0, CONFIG, None, np.zeros(50, np.int64))
    accuracy = found.metrics["accuracy"]
    assert accuracy.value is not None
    assert (accuracy.low, accuracy.high, accuracy.reason) == (None, None, "all test rows hang together")
    assert not found.comparisons["baseline"].significant
