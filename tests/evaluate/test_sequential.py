"""Looking after every observation: false alarms stay at most at the stated rate, real differences are found."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.evaluate.sequential import Moments, Totals, above, betting, difference

ALPHA = 0.05
RUNS, LOOKS = 250, 300
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def false_alarms(rejected_rl: np.ndarray) -> None:
    """The share of runs that ever rejected is ALPHA at most, but for chance (three standard errors above)."""
    share = rejected_rl.any(axis=0).mean()
    assert share <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / rejected_rl.shape[1]), share


def assigned(rng: np.random.Generator, share: float | np.ndarray, looks: int = LOOKS) -> np.ndarray:
    return rng.random((looks, RUNS)) < share


def totals(share: float, to_new: np.ndarray, y: np.ndarray) -> Totals:
    """Running totals after each observation, [looks, runs]."""
    new, old = to_new.cumsum(axis=0), (~to_new).cumsum(axis=0)
    return Totals(share, new, (to_new * y).cumsum(axis=0), old, (~to_new * y).cumsum(axis=0))


@pytest.mark.parametrize(("share", "rate"), [(0.5, 0.9), (0.05, 0.5), (0.1, 0.99)])
def test_betting_is_not_fooled_by_looking_after_every_answer(share: float, rate: float) -> None:
    rng = np.random.default_rng(1)
    to_new = assigned(rng, share)
    found = betting([totals(share, to_new, (rng.random(to_new.shape) < rate).astype(float))])
    false_alarms(np.maximum(found.log_higher, found.log_lower) >= -math.log(ALPHA / 2))


def test_requests_of_callers_who_stay_do_not_fool_it() -> None:
    """One caller in twenty is drawn; each asks many times, some ask most of all, and all fail alike."""
    rng = np.random.default_rng(6)
    callers = 40
    drawn = rng.random((callers, RUNS)) < 0.1
    weight = rng.pareto(1.0, callers) + 0.1
    who = rng.choice(callers, LOOKS, p=weight / weight.sum())
    to_new = drawn[who]
    group = totals(0.1, to_new, (rng.random(to_new.shape) < 0.05).astype(float))
    found = betting([replace(group, share=None)])
    false_alarms(found.log_higher >= -math.log(ALPHA))
    false_alarms(betting([group]).log_higher >= -math.log(ALPHA))


def test_an_ordinary_test_is_fooled_by_the_same() -> None:
    """Otherwise the simulation would show nothing: a z-test at each look is wrong far more often."""
    rng = np.random.default_rng(1)
    to_new = assigned(rng, 0.5)
    group = totals(0.5, to_new, (rng.random(to_new.shape) < 0.9).astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        new, old = group.challenger_sum / group.challenger, group.champion_sum / group.champion
        pooled = (group.challenger_sum + group.champion_sum) / (group.challenger + group.champion)
        z = (new - old) / np.sqrt(pooled * (1 - pooled) * (1 / group.challenger + 1 / group.champion))
    assert (np.abs(z[50:]) > 1.96).any(axis=0).mean() > 3 * ALPHA


def test_a_drifting_rate_and_a_growing_share_do_not_fool_it() -> None:
    """The outcome worsens while the share grows: pooled means differ (Simpson), yet the arms are the same."""
    rng = np.random.default_rng(2)
    groups, pooled_new, pooled_old, last = [], [], [], None
    for share, rate in ((0.05, 0.95), (0.5, 0.6)):
        to_new = assigned(rng, share, LOOKS // 2)
        y = (rng.random(to_new.shape) < rate).astype(float)
        group = totals(share, to_new, y)
        before = [Totals(g.share, g.challenger[-1:], g.challenger_sum[-1:], g.champion[-1:], g.champion_sum[-1:])
                  for g in groups]  # fmt: skip
        still = [Totals(g.share, *(np.broadcast_to(part, to_new.shape) for part in (
            g.challenger, g.challenger_sum, g.champion, g.champion_sum))) for g in before]  # fmt: skip
        last = betting([*still, group])
        false_alarms(np.maximum(last.log_higher, last.log_lower) >= -math.log(ALPHA / 2))
        groups.append(group)
        pooled_new.append((group.challenger_sum[-1].sum(), group.challenger[-1].sum()))
        pooled_old.append((group.champion_sum[-1].sum(), group.champion[-1].sum()))
    new, old = (sum(s for s, _ in one) / sum(n for _, n in one) for one in (pooled_new, pooled_old))
    assert old - new > 0.1, "the simulation has the trap that it is about"


FIGURES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.normal(10, 3, size),
    "heavy tails": lambda rng, size: rng.lognormal(0, 1, size),
    "mostly nothing": lambda rng, size: (rng.random(size) < 0.2) * rng.exponential(20, size),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_business_figure_is_not_fooled_either(name: str) -> None:
    rng = np.random.default_rng(3)
    to_new = assigned(rng, 0.5)
    y = FIGURES[name](rng, to_new.shape)
    arms = [
        Moments(*(np.where(mine, part, 0).cumsum(axis=0)[200:] for part in (np.ones_like(y), y, y**2)))
        for mine in (to_new, ~to_new)
    ]
    found = difference([(arms[0], arms[1])], ALPHA)
    assert found is not None
    false_alarms((found.low > 0) | (found.high < 0))


def test_real_differences_are_found_by_both() -> None:
    rng = np.random.default_rng(4)
    to_new = assigned(rng, 0.5, 1500)
    y = np.where(to_new, rng.random(to_new.shape) < 0.9, rng.random(to_new.shape) < 0.8).astype(float)
    whole = totals(0.5, to_new, y)
    found = betting([Totals(0.5, *(part[-1:] for part in (
        whole.challenger, whole.challenger_sum, whole.champion, whole.champion_sum)))])  # fmt: skip
    assert (found.log_higher >= -math.log(ALPHA / 2)).mean() > 0.95
    assert (found.log_lower < 0).all()
    arms = [Moments(mine.sum(axis=0), (mine * y).sum(axis=0), (mine * y).sum(axis=0)) for mine in (to_new, ~to_new)]
    interval = difference([(arms[0], arms[1])], ALPHA)
    assert interval is not None
    assert (interval.low > 0).mean() > 0.9
    assert ((interval.low <= 0.1) & (interval.high >= 0.1)).mean() > 0.95


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.01, 0.99),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60),
)
def test_capital_comes_from_totals_alone(share: float, seen: list[tuple[bool, float]]) -> None:
    """The order says nothing; exchanging arms exchanges the directions."""

    def group(part: list[tuple[bool, float]], flip: bool = False) -> Totals:
        new = [y for to_new, y in part if to_new != flip]
        old = [y for to_new, y in part if to_new == flip]
        return Totals(1 - share if flip else share, len(new), sum(new), len(old), sum(old))

    whole = betting([group(seen)])
    backwards = betting([group(seen[::-1])])
    mirrored = betting([group(seen, flip=True)])
    assert whole.log_higher == pytest.approx(backwards.log_higher, abs=1e-9)
    assert whole.log_higher == pytest.approx(mirrored.log_lower, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.02, 0.98), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_one_answer_is_a_fair_game_or_worse(share: float, p_new: float, p_old: float) -> None:
    """The mean of the capital after one answer, over arm and outcome, is 1 at most where the bet is not true."""
    low, high = sorted((p_new, p_old))
    mean = 0.0
    for to_new, rate, chance in ((1, low, share), (0, high, 1 - share)):
        for y, likely in ((1.0, rate), (0.0, 1 - rate)):
            one = betting([Totals(share, to_new, to_new * y, 1 - to_new, (1 - to_new) * y)])
            mean += chance * likely * math.exp(float(one.log_higher))
    assert mean <= 1 + 1e-9


def test_nothing_seen_says_nothing() -> None:
    assert betting([]).p == 1.0
    assert difference([(Moments(1, 1, 1), Moments(50, 10, 20))]) is None
    assert Moments().mean is None


def test_a_fixed_rate_is_not_exceeded_by_looking_often() -> None:
    rng = np.random.default_rng(5)
    failed = (rng.random((LOOKS, RUNS)) < 0.05).cumsum(axis=0)
    looks = np.arange(1, LOOKS + 1)
    found = np.array([[above(n, k, 0.05) for k in row] for n, row in zip(looks[::5], failed[::5], strict=True)])
    false_alarms(found >= -math.log(ALPHA))
    assert above(200, 30, 0.05) >= -math.log(ALPHA)


def test_a_difference_is_taken_within_each_share() -> None:
    """Both arms fall from 10 to 2 while the share grows; pooled they would differ."""
    pairs = [
        (Moments(100, 1000, 10100), Moments(1900, 19000, 191900)),
        (Moments(1000, 2000, 5000), Moments(1000, 2000, 5000)),
    ]
    found = difference(pairs)
    assert found is not None
    assert found.value == pytest.approx(0)
    assert found.low < 0 < found.high
