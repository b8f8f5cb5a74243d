"""The draw: shares, quotas, unions and time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.splits import TEST, TRAIN, VALID, by_time, draw, roots, uniform


def names(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**63, count).astype(np.uint64)


def shares(parts: np.ndarray) -> list[int]:
    return np.bincount(parts, minlength=3).tolist()


def test_shares_are_met_and_the_seed_matters() -> None:
    drawn = draw(names(100_000), np.ones(100_000, int), np.zeros(100_000, int), 0.1, 0.2, 0)
    assert np.allclose(np.bincount(drawn) / 100_000, [0.7, 0.1, 0.2], atol=0.01)
    other = draw(names(100_000), np.ones(100_000, int), np.zeros(100_000, int), 0.1, 0.2, 1)
    assert abs((drawn == other).mean() - (0.49 + 0.01 + 0.04)) < 0.02


def test_draws_are_uniform_even_for_names_that_count_up() -> None:
    drawn = uniform(np.arange(100_000, dtype=np.uint64), 0)
    counts = np.histogram(drawn, 20, (0, 1))[0]
    assert np.abs(counts - 5000).max() < 400


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [1, 0, 0]), (2, [2, 0, 0]), (3, [2, 0, 1]), (5, [3, 1, 1]), (10, [7, 1, 2]), (100, [70, 10, 20])],
)
def test_small_classes_get_quotas(count: int, expected: list[int]) -> None:
    sizes = np.ones(count + 50_000, int)
    strata = np.array([1] * count + [0] * 50_000)
    assert shares(draw(names(count + 50_000), sizes, strata, 0.1, 0.2, 0)[:count]) == expected


def test_large_classes_do_not_depend_on_small_ones() -> None:
    all_names = names(2000)
    alone = draw(all_names[:1000], np.ones(1000, int), np.zeros(1000, int), 0.1, 0.2, 0)
    strata = np.array([0] * 1000 + [1] * 10 + [2] * 990)
    assert (draw(all_names, np.ones(2000, int), strata, 0.1, 0.2, 0)[:1000] == alone).all()


def test_a_unit_of_more_than_half_of_the_rows_is_training() -> None:
    sizes = np.array([90, 3, 3, 2, 2])
    for seed in range(10):
        parts = draw(names(5), sizes, np.zeros(5, int), 0.1, 0.2, seed)
        assert parts[0] == TRAIN
        assert {TEST, VALID} <= set(parts.tolist())


@pytest.mark.parametrize(("valid", "test"), [(0.0, 0.0), (0.0, 0.2), (0.1, 0.0)])
def test_parts_that_are_not_wanted_stay_empty(valid: float, test: float) -> None:
    for count in (5, 50_000):
        found = shares(draw(names(count), np.ones(count, int), np.zeros(count, int), valid, test, 0))
        assert (found[1] > 0, found[2] > 0) == (valid > 0, test > 0)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=25), max_size=3))
def test_roots_are_connected_components(lists: list[list[tuple[int, int]]]) -> None:
    label = list(range(31))
    for _ in range(31):
        for a, b in (edge for edges in lists for edge in edges):
            label[a] = label[b] = min(label[a], label[b])
    edges = [(np.array([a for a, _ in one], int), np.array([b for _, b in one], int)) for one in lists]
    found = roots(31, edges)
    assert (list(range(31)) if found is None else found.tolist()) == label


def test_by_time_keeps_one_instant_together() -> None:
    instants = np.array([1] * 50 + [2] * 25 + [3] * 25)
    parts = by_time(np.random.default_rng(0).permutation(instants), 0.1, 0.2, None)
    assert sorted(shares(parts)) == [0, 25, 75]
    with pytest.raises(ValueError, match="one instant"):
        by_time(np.ones(10, np.int64), 0.1, 0.2, None)
