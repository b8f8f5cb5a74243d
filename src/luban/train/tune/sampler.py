"""What is tried next: a set of values, drawn from the ranges and from how the trials before it went.

Decided here: a draw is a function of the ranges, the seed, the trials so far and its number, and of
nothing else; no state is carried from draw to draw. So a tuning that was killed goes on with the draws that it
would have made. Optuna draws (extra `tune`); a grid is listed here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.catalog import canonical, need
from luban.train.tune.config import TuneConfig
from luban.train.tune.space import Range, Scalar, Values, as_stated

MAX_GRID = 100_000
"""Combinations that are listed at most."""
ATTEMPTS = 20
"""Draws that repeat an earlier trial before the space counts as exhausted."""


@dataclass(frozen=True)
class Told:
    """How one trial went. `loss`: on validation rows after all training rows, None if it got none; `rungs`:
    its losses on growing shares of the rows. A trial with rungs and no loss was given up."""

    values: Values
    loss: float | None
    rungs: tuple[float, ...] = ()


def ask(config: TuneConfig, seed: int, told: Sequence[Told]) -> Values | None:
    """The values of the next trial, unlike all before; None where there are none left.

    The first is the family's settings as they are stated, but for a grid.
    """
    if config.sampler == "grid":
        grid = combinations(config.ranges, config.grid_points, seed)
        return grid[len(told)] if len(told) < len(grid) else None
    if not told:
        return as_stated(config.family, config.ranges)
    seen = {_key(one.values) for one in told}
    for attempt in range(ATTEMPTS):
        drawn = _draw(config, np.random.SeedSequence([seed, len(told), attempt]), told)
        if _key(drawn) not in seen:
            return drawn
    return None


def inside(ranges: Sequence[Range], values: Values) -> bool:
    """Whether every range has its value: the stated settings may lie outside."""
    return all(found.name in values and found.holds(values[found.name]) for found in ranges)


def _key(values: Values) -> bytes:
    return canonical(values)


def combinations(ranges: Sequence[Range], points: int, seed: int) -> list[Values]:
    """Every combination, in an order drawn from the seed: a budget then cuts off no corner.

    Of more than 100,000 combinations so many are drawn.
    """
    axes = [found.points(points) for found in ranges]
    size = math.prod(map(len, axes))
    rng = np.random.default_rng(seed)
    if size <= MAX_GRID:
        listed = list(itertools.product(*axes))
        return [_named(ranges, listed[i]) for i in rng.permutation(size)]
    picks = {tuple(int(rng.integers(len(axis))) for axis in axes) for _ in range(MAX_GRID // 100)}
    return [_named(ranges, [axis[i] for axis, i in zip(axes, pick, strict=True)]) for pick in sorted(picks)]


def _named(ranges: Sequence[Range], values: Sequence[Scalar]) -> Values:
    return {found.name: value for found, value in zip(ranges, values, strict=True)}


def _draw(config: TuneConfig, entropy: np.random.SeedSequence, told: Sequence[Told]) -> Values:
    """One draw by Optuna, in a study of its own that is told all that is known."""
    optuna = need("optuna", "tune")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {found.name: _distribution(optuna, found) for found in config.ranges}
    number = int(entropy.generate_state(1)[0])
    sampler = (
        optuna.samplers.RandomSampler(seed=number)
        if config.sampler == "random"
        else optuna.samplers.TPESampler(seed=number, n_startup_trials=min(10, max(3, config.trials // 3)))
    )
    study = optuna.create_study(sampler=sampler, pruner=optuna.pruners.NopPruner())
    study.add_trials([_known(optuna, one, distributions) for one in told if inside(config.ranges, one.values)])
    drawn: Values = study.ask(distributions).params
    return {found.name: _rounded(found, drawn[found.name]) for found in config.ranges}


def _distribution(optuna: Any, found: Range) -> Any:
    if found.choices:
        return optuna.distributions.CategoricalDistribution(found.choices)
    if found.whole:
        return optuna.distributions.IntDistribution(int(found.low), int(found.high), log=found.log)
    return optuna.distributions.FloatDistribution(found.low, found.high, log=found.log)


def _rounded(found: Range, value: Scalar) -> Scalar:
    """Six digits say all that matters, and can be copied; the ends stay inside."""
    if found.choices or found.whole or not isinstance(value, float):
        return value
    return min(max(float(f"{value:.6g}"), found.low), found.high)


def _known(optuna: Any, one: Told, distributions: dict[str, Any]) -> Any:
    states = optuna.trial.TrialState
    state = states.COMPLETE if one.loss is not None else states.PRUNED if one.rungs else states.FAIL
    return optuna.trial.create_trial(
        state=state,
        value=one.loss,
        params=one.values,
        distributions=distributions,
        intermediate_values=dict(enumerate(one.rungs)),
    )
