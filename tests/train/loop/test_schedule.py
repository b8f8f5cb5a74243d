"""Step sizes: they rise, fall as asked, and stay between nothing and the largest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.models.neural.recipe import Recipe
from luban.train.loop.schedule import share

KINDS = ("cosine", "linear", "plateau", "constant")


@given(st.sampled_from(KINDS), st.floats(0, 0.9), st.integers(1, 300))
def test_rises_then_never_rises_again(kind: str, warmup: float, horizon: int) -> None:
    recipe = Recipe(schedule=kind, warmup=warmup)  # type: ignore[arg-type]
    shares = [share(recipe, step, horizon, halved=(horizon // 2,)) for step in range(horizon)]
    assert all(0 < value <= 1 for value in shares)
    warm = int(warmup * horizon)
    assert shares[:warm] == sorted(shares[:warm]) or kind == "plateau"
    assert shares[warm + 1 :] == sorted(shares[warm + 1 :], reverse=True)


@pytest.mark.parametrize(
    ("kind", "middle", "last"), [("cosine", 0.5, 0.000_25), ("linear", 0.5, 0.01), ("constant", 1, 1)]
)
def test_shape(kind: str, middle: float, last: float) -> None:
    recipe = Recipe(schedule=kind, warmup=0)  # type: ignore[arg-type]
    assert share(recipe, 0, 100) == 1
    assert share(recipe, 50, 100) == pytest.approx(middle)
    assert share(recipe, 99, 100) == pytest.approx(last, rel=0.02)


def test_plateau_halves_where_it_is_told() -> None:
    recipe = Recipe(schedule="plateau", warmup=0)
    assert [share(recipe, step, 10, halved=(3, 6)) for step in (0, 2, 3, 5, 6, 9)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_after_the_planned_end_nothing_grows() -> None:
    assert share(Recipe(), 150, 100) == 0
