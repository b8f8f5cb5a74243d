"""Curves: what scikit-learn says, few points, and odd test sets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.evaluate.curves import MAX_POINTS, coverage_risk, curves, residuals, thinned
from luban.evaluate.scored import Scored

metrics = pytest.importorskip("sklearn.metrics")
LEVEL = 0.95


def two(truth: np.ndarray, second: np.ndarray) -> Scored:
    return Scored(truth, np.stack([1 - second, second], axis=1), threshold=0.5)


def many(num_rows: int, num_classes: int, skill: float = 2.0, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_rows)
    logits = rng.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), truth] += skill
    e = np.exp(logits)
    return Scored(truth, e / e.sum(axis=1, keepdims=True))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60))
def test_areas_are_those_of_scikit_learn_ties_and_all(rows: list[tuple[bool, int]]) -> None:
    truth = np.array([int(positive) for positive, _ in rows])
    score = np.array([score / 20 for _, score in rows])
    found = curves(two(truth, score), ["a", "b"], LEVEL)
    if len(set(truth)) < 2:
        assert found.roc == found.pr == ()
        assert found.reason
        return
    assert found.roc[0].area == pytest.approx(metrics.roc_auc_score(truth, score))
    assert found.pr[0].area == pytest.approx(metrics.average_precision_score(truth, score))
    assert found.roc[0].share == pytest.approx(truth.mean())
    for false, true in found.roc[0].points:
        assert 0 <= false <= 1
        assert 0 <= true <= 1


def test_every_point_is_reached_at_its_threshold() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 3000)
    score = 1 / (1 + np.exp(-(truth * 2 - 1 + rng.normal(size=3000))))
    found = curves(two(truth, score), ["a", "b"], LEVEL)
    for curve in (found.roc[0], found.pr[0]):
        assert curve.of == "b"
        assert len(curve.points) <= MAX_POINTS
        assert len(curve.thresholds) == len(curve.points)
    for (recall, precision), threshold in list(zip(found.pr[0].points, found.pr[0].thresholds, strict=True))[::20]:
        given_so = score >= threshold - 1e-6
        assert recall == pytest.approx((given_so & (truth == 1)).sum() / (truth == 1).sum(), abs=2e-3)
        assert precision == pytest.approx(truth[given_so].mean(), abs=2e-3)


@given(st.integers(2, 2000), st.integers(0, 9))
def test_thinning_keeps_both_ends_and_the_order(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = np.sort(rng.random(size)), rng.random(size)
    kept = thinned(x, y)
    assert (kept[0], kept[-1]) == (0, size - 1)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= MAX_POINTS


def test_many_classes_have_means_and_the_weakest() -> None:
    rows = many(900, 8)
    labels = [f"c{number}" for number in range(8)]
    found = curves(rows, labels, LEVEL)
    assert [curve.of for curve in found.roc[:2]] == ["macro", "micro"]
    assert len(found.roc) == len(found.pr) == 7
    one_hot = np.eye(8)[rows.truth]
    assert found.roc[0].area == pytest.approx(metrics.roc_auc_score(one_hot, rows.probability, average="macro"))
    assert found.roc[1].area == pytest.approx(metrics.roc_auc_score(one_hot, rows.probability, average="micro"))
    per_class = {labels[i]: metrics.average_precision_score(one_hot[:, i], rows.probability[:, i]) for i in range(8)}
    assert [curve.of for curve in found.pr[2:]] == sorted(per_class, key=per_class.__getitem__)[:5]


def test_five_hundred_classes_stay_small() -> None:
    rows = many(20_000, 500)
    found = curves(rows, [f"class {number}" for number in range(500)], LEVEL)
    assert found.num_rows == 4000, "evenly spaced rows stand for all"
    assert len(found.model_dump_json()) < 60_000
    assert sum(len(curve.points) for curve in (*found.roc, *found.pr)) <= 14 * MAX_POINTS


def test_a_class_without_test_rows_has_no_curve() -> None:
    rows = many(300, 4)
    kept = rows.take(rows.truth != 2)
    found = curves(kept, list("abcd"), LEVEL)
    assert "c" not in [curve.of for curve in found.roc]
    assert len(found.roc) == 5


def test_tags_are_ranked_one_by_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (400, 3))
    rows = Scored(truth, tags=np.clip(truth * 0.4 + rng.random((400, 3)) * 0.6, 0, 1))
    found = curves(rows, list("abc"), LEVEL)
    areas = [metrics.roc_auc_score(truth[:, i], rows.probability[:, i]) for i in range(3)]
    assert found.roc[0].area == pytest.approx(np.mean(areas))
    assert found.coverage_risk is not None


def test_being_unsure_where_wrong_is_what_coverage_and_risk_reward() -> None:
    rng = np.random.default_rng(0)
    second = rng.uniform(size=4000)
    truth = (rng.uniform(size=4000) < second).astype(int)
    rows = two(truth, second)
    found = coverage_risk(rows, LEVEL)
    errors = [one.error for one in found.answered]
    assert [round(one.share, 2) for one in found.answered] == [0.5, 0.7, 0.8, 0.9, 0.95, 1.0]
    assert errors == sorted(errors)
    assert errors[-1] == pytest.approx(1 - rows.right.mean())
    assert found.best < found.area < errors[-1]
    for one in found.answered:
        assert one.low <= one.error <= one.high
        sure = rows.confidence >= one.least_confidence - 1e-9
        assert one.num_rows == sure.sum()
        assert one.error == pytest.approx(1 - rows.right[sure].mean())


def test_the_best_area_is_that_of_a_model_unsure_just_where_it_is_wrong() -> None:
    truth = np.zeros(10, int)
    second = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.51, 0.52, 0.53])
    found = coverage_risk(two(truth, second), LEVEL)
    assert found.area == pytest.approx(found.best)


def test_equal_confidence_is_answered_together() -> None:
    found = coverage_risk(two(np.array([0, 0, 0, 1]), np.full(4, 0.2)), LEVEL)
    assert found.points == ((1.0, 0.25),)
    assert [one.share for one in found.answered] == [1.0]


def test_a_number_has_bins_and_residuals_and_no_row_of_its_own() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=5000)
    found = curves(Scored(truth, values=truth + rng.normal(size=5000) * 0.1 + 0.5), [], LEVEL).residuals
    assert found is not None
    assert len(found.bins) == 20
    assert sum(one.num_rows for one in found.bins) == sum(found.counts) == 5000
    assert found.median == pytest.approx(0.5, abs=0.02)
    assert found.high - found.low == pytest.approx(2 * 1.645 * 0.1, rel=0.1)
    for one in found.bins:
        assert one.truth_low <= one.truth <= one.truth_high
        assert one.predicted - one.truth == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_few_exact_numbers(size: int) -> None:
    found = residuals(Scored(np.ones(size), values=np.ones(size)))
    assert sum(found.counts) == sum(one.num_rows for one in found.bins) == size
    assert (found.low, found.median, found.high) == (0, 0, 0)


def test_one_row() -> None:
    found = curves(two(np.array([1]), np.array([0.7])), ["a", "b"], LEVEL)
    assert found.roc == ()
    assert found.coverage_risk is not None
    assert found.coverage_risk.answered[0].error == 0
