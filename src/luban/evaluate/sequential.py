"""Two arms compared while the figures come in: tests that may be looked at as often as one likes.

An ordinary test keeps its rate of false alarms for one look, fixed beforehand; who looks every minute and
stops at the first "significant" is fooled more often than not. What stands here keeps its rate over all
looks together. Both need totals alone, so a restart forgets nothing and servers' counts are added:

    `EValue` of `betting`    outcomes from 0 to 1 (right or wrong, failed or not): exact at any size
    `difference`             any outcome (money, minutes): exact in the limit, hence a least number an arm

**Betting.** A question goes to the challenger with a known probability w (its `share`). If the arms do not
differ, its outcome y says nothing about where it went; for any rates a, b the product of
f_arm(y) / f_mixed(y), with f_p(y) = p^y (1-p)^(1-y) and mixed = w a + (1-w) b, is then a fair game, or
worse: f is concave in p (Jensen). Its capital exceeds 1/alpha with probability alpha at most, ever (Ville, 1939).
That stays so where outcomes change by the hour and where w changes, as long as each total has its own w. One-sided:
f_a/f_mixed is convex in y, so bets on "the challenger's mean is higher" lose wherever it is not. Capital is spread
over a grid of rates and differences (method of mixtures). Turner, Ly, Grünwald, "Generic E-variables for exact
sequential k-sample tests that allow for optional stopping" (2024); Ramdas et al., "Game-theoretic statistics and
safe anytime-valid inference" (2023).

**Any outcome.** The difference of means has an asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha,
Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences" (2024), Proposition 2.5.

What both take for granted: units are drawn to arms independently. Several outcomes of one unit (a caller that is
kept at its arm) are one unit's, and must not be counted as several. Where more units came to an arm than it was
meant to have (a caller that asks most of all; truth that comes more often for one), bets by the share would win from
that alone. So the capital is the smaller of two: by the share, which is exact, and by the fraction as it fell
(Turner et al.: given the numbers of each arm), which learns nothing from numbers. For requests of which many are one
caller's, `share=None` takes the second alone: exact at one look, and by simulation far from alpha over many.
Knows no server and no ledger.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

_BASES: Final = np.arange(-9.0, 9.01, 0.4)
_LIFTS: Final = np.array([0.1, 0.2, 0.4, 0.8, 1.6, 3.2])
_CHUNK: Final = 4096


@dataclass(frozen=True)
class Totals:
    """What both arms have seen while the challenger's share was `share`; None: units were not drawn independently.

    `challenger` and `champion` are the numbers of units, `challenger_sum` and `champion_sum` the sums of their
    outcomes, each from 0 to 1. Numbers, or arrays of one shape [...] for many comparisons at once.
    """

    share: float | None
    challenger: float | np.ndarray
    challenger_sum: float | np.ndarray
    champion: float | np.ndarray
    champion_sum: float | np.ndarray


@dataclass(frozen=True)
class EValue:
    """Evidence that the challenger's mean is higher, and that it is lower: natural logarithms of capitals that began
    as 1. Numbers, or arrays [...]."""

    log_higher: float | np.ndarray
    log_lower: float | np.ndarray

    def higher(self, alpha: float) -> bool:
        """Whether the challenger's mean is higher; wrong with probability `alpha` at most, over all looks."""
        return bool(self.log_higher >= -math.log(alpha))

    def lower(self, alpha: float) -> bool:
        """Whether it is lower, likewise."""
        return bool(self.log_lower >= -math.log(alpha))

    @property
    def p(self) -> float:
        """A two-sided p-value that is valid at any look: 1 over the larger capital, doubled."""
        return min(1.0, 2.0 * math.exp(-max(float(self.log_higher), float(self.log_lower))))


def betting(groups: Sequence[Totals]) -> EValue:
    """Compare two arms' means of outcomes from 0 to 1; one group of totals for each share that there was.

    Exact: at any number of looks, and whatever the outcomes' rates did meanwhile.

    >>> betting([Totals(0.5, 200, 190, 200, 150)]).higher(0.025)
    True
    >>> betting([Totals(0.5, 200, 190, 200, 189)]).p
    1.0
    """
    if not groups:
        return EValue(0.0, 0.0)
    shape = np.shape(groups[0].challenger)
    # [4, n] each: units and sums of the challenger, units and sums of the champion
    flat = [np.array([np.ravel(part) for part in _parts(group)], float) for group in groups]
    size = flat[0].shape[1]
    higher, lower = np.empty(size), np.empty(size)
    for start in range(0, size, _CHUNK):
        here = slice(start, start + _CHUNK)
        drawn = [(group.share, parts[:, here]) for group, parts in zip(groups, flat, strict=True)]
        higher[here], lower[here] = _least(drawn, 1.0), _least(drawn, -1.0)
    if not shape:
        return EValue(float(higher[0]), float(lower[0]))
    return EValue(higher.reshape(shape), lower.reshape(shape))


def _least(groups: Sequence[tuple[float | None, np.ndarray]], sign: float) -> np.ndarray:
    """The smaller of the capital by the share that was meant and by the fraction as it fell."""
    fell = _capital([(None, parts) for _, parts in groups], sign)
    if any(share is None for share, _ in groups):
        return fell
    found: np.ndarray = np.minimum(fell, _capital(groups, sign))
    return found


def _parts(group: Totals) -> tuple[float | np.ndarray, ...]:
    return group.challenger, group.challenger_sum, group.champion, group.champion_sum


def _capital(groups: Sequence[tuple[float | None, np.ndarray]], sign: float) -> np.ndarray:
    """Logarithm [n] of the capital of bets on one direction, spread evenly over the grid."""
    base, lift = (grid.ravel() for grid in np.meshgrid(_BASES, sign * _LIFTS / 2, indexing="ij"))
    up, down = _logistic(base + lift), _logistic(base - lift)
    total: np.ndarray = np.zeros((groups[0][1].shape[1], len(base)))
    for share, (n_up, sum_up, n_down, sum_down) in groups:
        fraction = n_up / np.maximum(n_up + n_down, 1.0) if share is None else np.array([share])
        mixed = fraction[:, None] * up + (1 - fraction[:, None]) * down
        log_mixed, log_rest = np.log(mixed), np.log1p(-mixed)
        for rate, number, found in ((up, n_up, sum_up), (down, n_down, sum_down)):
            total += found[:, None] * (np.log(rate) - log_mixed)
            total += (number - found)[:, None] * (np.log1p(-rate) - log_rest)
    most = total.max(axis=1, keepdims=True)
    logs: np.ndarray = most[:, 0] + np.log(np.exp(total - most).mean(axis=1))
    return logs


def above(number: float, total: float, rate: float) -> float:
    """Evidence that the mean of `number` outcomes from 0 to 1 that sum up to `total` is above `rate`.

    The logarithm of a capital like those of `betting`, for one arm against a fixed rate.

    >>> above(100, 20, 0.05) > math.log(20) > above(100, 5, 0.05)
    True
    """
    higher = _logistic(math.log(rate / (1 - rate)) + _LIFTS)
    logs = total * np.log(higher / rate) + (number - total) * np.log((1 - higher) / (1 - rate))
    return pooled(logs)


def pooled(logs: np.ndarray) -> float:
    """The logarithm of the mean of capitals [n], given as logarithms: itself a capital that began as 1."""
    most = float(logs.max())
    return most + math.log(float(np.exp(logs - most).mean()))


def _logistic(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-x))
    return found


@dataclass(frozen=True)
class Moments:
    """Number, sum and sum of squares of one arm's outcomes, of any size. Numbers, or arrays [...]."""

    number: float | np.ndarray = 0.0
    sum: float | np.ndarray = 0.0
    squares: float | np.ndarray = 0.0

    def __add__(self, other: Moments) -> Moments:
        """Both together."""
        return Moments(self.number + other.number, self.sum + other.sum, self.squares + other.squares)

    @property
    def mean(self) -> float | None:
        """The mean, None of nothing."""
        return float(self.sum) / float(self.number) if self.number else None


@dataclass(frozen=True)
class Difference:
    """Challenger's mean minus the champion's, and an interval that covers it at all looks together."""

    value: float | np.ndarray
    low: float | np.ndarray
    high: float | np.ndarray


def difference(
    groups: Sequence[tuple[Moments, Moments]], alpha: float = 0.05, sharpest_at: float = 1000.0
) -> Difference | None:
    """The difference of means with a confidence sequence of level 1 - alpha, two-sided; None where too little is known.

    `groups` hold challenger and champion, one pair for each share that there was: means are compared within a pair,
    so that neither a share nor an outcome that changed in between fools it. A pair with fewer than two units on a
    side is left out. It holds in the limit of many units: let each side have some (100) before it is
    acted upon. `sharpest_at` is the number of units at which the interval is narrowest.

    >>> found = difference([(Moments(1000, 5200, 30000), Moments(1000, 5000, 28000))])
    >>> round(found.value, 3), found.low < 0 < found.high
    (0.2, True)
    """
    told = [pair for pair in groups if min(np.min(one.number) for one in pair) >= 2]
    if not told:
        return None
    sizes = [np.asarray(new.number, float) + old.number for new, old in told]
    total = np.sum(sizes, axis=0)
    value, noise = np.zeros_like(total), np.zeros_like(total)
    for (new, old), size in zip(told, sizes, strict=True):
        value = value + size / total * (new.sum / new.number - old.sum / old.number)
        noise = noise + np.square(size / total) * (_variance(new) / new.number + _variance(old) / old.number)
    rho2 = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / sharpest_at
    scale = 2 * (total * rho2 + 1) / (total * rho2) * np.log(np.sqrt(total * rho2 + 1) / alpha)
    half = np.sqrt(noise * scale)
    if not np.shape(value):
        return Difference(float(value), float(value - half), float(value + half))
    return Difference(value, value - half, value + half)


def _variance(of: Moments) -> np.ndarray:
    number = np.asarray(of.number, float)
    found: np.ndarray = np.maximum(of.squares - np.square(of.sum) / number, 0.0) / (number - 1)
    return found
