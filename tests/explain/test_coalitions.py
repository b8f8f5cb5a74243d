"""Shapley values of games whose values are known."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.explain.coalitions import MOST_PLAYERS, All, Drawn, design


def by_definition(players: int, worth: dict[tuple[bool, ...], float]) -> np.ndarray:
    """The mean of a player's contribution over all orders."""
    found = np.zeros(players)
    for order in permutations(range(players)):
        inside = [False] * players
        for player in order:
            before = worth[tuple(inside)]
            inside[player] = True
            found[player] += worth[tuple(inside)] - before
    return found / factorial(players)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**32))
def test_all_coalitions_give_the_definition(players: int, seed: int) -> None:
    whole = All(players)
    worth = np.random.default_rng(seed).normal(size=len(whole.coalitions))
    table = {tuple(mask): value for mask, value in zip(whole.coalitions.tolist(), worth.tolist(), strict=True)}
    shares = whole.shares(worth)
    assert np.allclose(shares.values, by_definition(players, table))
    assert shares.std_error is None


@settings(max_examples=25, deadline=None)
@given(st.integers(5, MOST_PLAYERS), st.integers(16, 200), st.integers(0, 2**32))
def test_drawn_values_sum_to_the_difference(players: int, coalitions: int, seed: int) -> None:
    drawn = design(players, coalitions, 0)
    assert drawn.coalitions[0].all()
    assert not drawn.coalitions[-1].any()
    assert len(np.unique(drawn.coalitions, axis=0)) == len(drawn.coalitions) <= max(coalitions, 2**players)
    worth = np.random.default_rng(seed).normal(size=len(drawn.coalitions)) * 100
    assert abs(drawn.shares(worth).values.sum() - (worth[0] - worth[-1])) < 1e-8


def test_what_players_add_alone_is_met_by_few_coalitions() -> None:
    adds = np.random.default_rng(0).normal(size=24)
    drawn = design(24, 96, 0)
    shares = drawn.shares(drawn.coalitions @ adds + 3.0)
    assert np.abs(shares.values - adds).max() < 1e-3


@pytest.mark.parametrize("kind", ["pairs", "triples", "smooth"])
def test_drawn_values_come_near_the_exact_ones(kind: str) -> None:
    rng, players = np.random.default_rng(1), 12
    adds, whole = rng.normal(size=players), All(players)
    groups = rng.integers(0, players, (10, 2 if kind == "pairs" else 3))
    strength = rng.normal(size=10)

    def worth(masks: np.ndarray) -> np.ndarray:
        if kind == "smooth":
            return np.tanh(masks @ adds)
        return masks @ adds + np.stack([masks[:, group].all(axis=1) for group in groups], axis=1) @ strength

    exact = whole.shares(worth(whole.coalitions)).values
    errors, stated = [], []
    for coalitions in (64, 512):
        drawn = design(players, coalitions, 0)
        assert isinstance(drawn, Drawn)
        shares = drawn.shares(worth(drawn.coalitions))
        errors.append(float(np.sqrt(np.mean((shares.values - exact) ** 2))))
        stated.append(shares.std_error)
    assert errors[1] < 0.03 * exact.std()
    assert errors[1] <= errors[0]
    assert all(said is not None and error < 2 * said + 1e-6 for error, said in zip(errors, stated, strict=True))


def test_the_seed_decides() -> None:
    assert (design(20, 64, 1).coalitions == design(20, 64, 1).coalitions).all()
    assert (design(20, 64, 1).coalitions != design(20, 64, 2).coalitions).any()
