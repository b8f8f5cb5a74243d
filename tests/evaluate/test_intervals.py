"""Intervals in closed form: what scipy says, and how often they hold where rows hang together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.evaluate.intervals import Means, false_discovery, mean_interval, wilson

stats = pytest.importorskip("scipy.stats")


@given(st.integers(1, 500), st.data())
def test_wilson(rows: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, rows))
    expected = stats.binomtest(hits, rows).proportion_ci(0.9, "wilson")
    low, high = wilson(hits, rows, 0.9)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-8)
    assert low <= hits / rows <= high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_false_discovery_rate(p_values: list[float]) -> None:
    found = false_discovery(np.array(p_values))
    assert found == pytest.approx(stats.false_discovery_control(p_values, method="bh"))


def test_no_p_values_no_q_values() -> None:
    assert len(false_discovery(np.zeros(0))) == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000))
def test_means_are_those_of_welch(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    figure = np.concatenate([rng.normal(size=n), rng.normal(size=m) * 2 + 1])
    found = Means(figure, False, 0.95).compare(np.arange(n))
    expected = stats.ttest_ind(figure[:n], figure[n:], equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-8)
    interval = expected.confidence_interval(0.95)
    assert (found.difference_low, found.difference_high) == pytest.approx((interval.low, interval.high), abs=1e-6)
    own = stats.t.interval(0.95, n - 1, figure[:n].mean(), stats.sem(figure[:n]))
    assert (found.low, found.high) == pytest.approx(own, abs=1e-6)


def test_shares_are_tested_exactly() -> None:
    figure = np.array([1, 1, 0, 0, 0] + [1] * 18 + [0] * 2, float)
    found = Means(figure, True, 0.95).compare(np.arange(5))
    assert found.p_value == pytest.approx(stats.fisher_exact([[2, 3], [18, 2]])[1])
    assert found.difference == pytest.approx(0.4 - 0.9)
    assert found.difference_low is not None
    assert found.difference_high is not None
    assert found.difference_low < -0.5 < found.difference_high < 0


@pytest.mark.parametrize("shares", [True, False])
def test_one_row_breaks_nothing(shares: bool) -> None:
    found = Means(np.array([0.0, 1.0, 1.0, 0.0]), shares, 0.95).compare(np.array([0]))
    assert found.value == 0
    assert (found.p_value is not None) == shares
    assert found.reason or shares


@pytest.mark.parametrize("clusters", [None, np.array([0, 0, 1, 2])])
def test_figures_that_are_all_equal_are_not_told_apart(clusters: np.ndarray | None) -> None:
    found = Means(np.ones(4), False, 0.95, clusters).compare(np.array([0, 2]))
    assert found.p_value is None
    assert found.reason == "the figure is the same in all rows"


def test_all_rows_of_one_cluster_have_no_interval() -> None:
    found = Means(np.array([0.0, 1, 1, 0]), True, 0.95, np.array([0, 0, 1, 2])).compare(np.array([0, 1]))
    assert found.value == 0.5
    assert found.low is None
    assert found.reason == "all these rows hang together"
    assert mean_interval(np.ones(3), 0.95, np.zeros(3, np.int64)) == (None, None)


def test_where_rows_hang_together_clusters_keep_the_level_and_rows_do_not() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(60), 20)
    rows = np.arange(600)
    wrong = {"rows": 0, "clusters": 0}
    for _ in range(300):
        figure = rng.normal(size=60)[clusters] + rng.normal(size=1200)
        for name, given_ in (("rows", None), ("clusters", clusters)):
            found = Means(figure, False, 0.95, given_).compare(rows)
            assert found.p_value is not None
            wrong[name] += found.p_value < 0.05
    assert wrong["clusters"] / 300 < 0.1
    assert wrong["rows"] / 300 > 0.3


def test_single_rows_as_clusters_are_nearly_rows() -> None:
    figure = np.random.default_rng(0).normal(size=400)
    plain = Means(figure, False, 0.95).compare(np.arange(200))
    single = Means(figure, False, 0.95, np.arange(400)).compare(np.arange(200))
    assert single.p_value == pytest.approx(plain.p_value, rel=0.03)
    assert mean_interval(figure, 0.95) == pytest.approx(mean_interval(figure, 0.95, np.arange(400)), abs=1e-9)
