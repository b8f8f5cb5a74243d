"""Intervals and tests in closed form, for figures that are the mean of one number a row.

The bootstrap serves metrics of all rows; slices are too many for it. Sources: a share: Wilson 1927; the
difference of two shares: Newcombe 1998, his method 10, and Fisher's exact test; the difference of two means:
Welch 1947; rows that hang together: the linearised, cluster-robust variance (Liang and Zeger 1986) with as
many degrees of freedom as the smaller side has clusters, less one. Correction for looking at many: Benjamini
and Hochberg 1995. Knows no metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from luban.catalog import need
from luban.evaluate.records import DECIMALS


@dataclass(frozen=True)
class Compared:
    """A mean on some rows, its interval, and its difference to the other rows' mean; None beside a reason."""

    value: float
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p_value: float | None = None
    reason: str | None = None


def wilson(hits: int, rows: int, level: float) -> tuple[float, float]:
    """Interval of a share.

    >>> wilson(0, 10, 0.95)
    (0.0, 0.2775327999)
    """
    z = _z(level)
    share, square = hits / rows, z * z / rows
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / rows + square / (4 * rows))
    # rounding must not leave the share itself outside of its interval
    low, high = min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
    return round(low, DECIMALS), round(high, DECIMALS)


def mean_interval(
    figure: np.ndarray, level: float, clusters: np.ndarray | None = None
) -> tuple[float | None, float | None]:
    """Student's interval of the mean of a figure [B], by clusters where rows hang together; None for one unit.

    >>> mean_interval(np.array([1.0, 2.0, 3.0]), 0.95)
    (-0.4841377118, 4.4841377118)
    """
    mean = float(figure.mean())
    pulls: np.ndarray = (figure - mean) / len(figure)
    if clusters is not None:
        pulls = np.bincount(clusters, pulls)
    units = len(pulls)
    if units < 2:
        return None, None
    half = _t(level, units - 1) * math.sqrt(units / (units - 1) * float((pulls**2).sum()))
    return _rounded(mean - half, mean + half)


def false_discovery(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's q [K] of p-values [K].

    >>> false_discovery(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    order = np.argsort(p_values, kind="stable")
    ranked = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return found


class Means:
    """One figure a row [B], and its mean on any of the rows beside the others.

    `shares`: the figure is 0 or 1. `clusters` [B] int64 from 0 name rows that hang together.
    """

    def __init__(self, figure: np.ndarray, shares: bool, level: float, clusters: np.ndarray | None = None) -> None:
        self.figure = np.asarray(figure, np.float64)
        self.shares, self.level, self.clusters = shares, level, clusters
        self._sum, self._squares = float(self.figure.sum()), float((self.figure**2).sum())

    @cached_property
    def _by_cluster(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums and rows of each cluster."""
        assert self.clusters is not None
        return np.bincount(self.clusters, self.figure), np.bincount(self.clusters)

    def compare(self, rows: np.ndarray) -> Compared:
        """The mean on rows [n] (positions, each once, at least one) against all others."""
        inside = self.figure[rows]
        value = round(float(inside.mean()), DECIMALS)
        if self.clusters is not None:
            return self._clustered(rows, value)
        if self.shares:
            return self._shares(inside, value)
        return self._means(inside, value)

    def _shares(self, inside: np.ndarray, value: float) -> Compared:
        hits, n = int(inside.sum()), len(inside)
        low, high = wilson(hits, n, self.level)
        other_hits, m = int(self._sum) - hits, len(self.figure) - n
        if not m:
            return Compared(value, low, high, reason="there are no other rows")
        other = other_hits / m
        other_low, other_high = wilson(other_hits, m, self.level)
        difference = hits / n - other
        below = math.hypot(hits / n - low, other_high - other)
        above = math.hypot(high - hits / n, other - other_low)
        table = [[hits, n - hits], [other_hits, m - other_hits]]
        p_value = float(need("scipy.stats", "train").fisher_exact(table)[1])
        return _compared(value, (low, high), difference, (below, above), p_value)

    def _means(self, inside: np.ndarray, value: float) -> Compared:
        n, m = len(inside), len(self.figure) - len(inside)
        if n < 2:
            return Compared(value, reason="one row has no spread")
        mean, variance = float(inside.mean()), float(inside.var(ddof=1)) / n
        half = _t(self.level, n - 1) * math.sqrt(variance)
        if m < 2:
            return Compared(value, *_rounded(mean - half, mean + half), reason="there are no other rows")
        other = (self._sum - float(inside.sum())) / m
        squares = self._squares - float((inside**2).sum())
        other_variance = max(squares / m - other**2, 0.0) / (m - 1)
        total = variance + other_variance
        if total == 0:
            return Compared(value, value, value, reason="the figure is the same in all rows")
        freedom = total**2 / (variance**2 / (n - 1) + other_variance**2 / (m - 1))
        spread = math.sqrt(total)
        p_value = _t_test((mean - other) / spread, freedom)
        wide = _t(self.level, freedom) * spread
        return _compared(value, _rounded(mean - half, mean + half), mean - other, (wide, wide), p_value)

    def _clustered(self, rows: np.ndarray, value: float) -> Compared:
        assert self.clusters is not None
        sums, sizes = self._by_cluster
        inside, n = np.bincount(self.clusters[rows], self.figure[rows], len(sums)), len(rows)
        counts, m = np.bincount(self.clusters[rows], minlength=len(sums)), len(self.figure) - n
        groups = int((counts > 0).sum())
        if groups < 2:
            return Compared(value, reason="all these rows hang together")
        mean = float(inside.sum()) / n
        pulls = (inside - mean * counts) / n
        half = _t(self.level, groups - 1) * math.sqrt(groups / (groups - 1) * float((pulls**2).sum()))
        own = _rounded(mean - half, mean + half)
        others = int((sizes > counts).sum())
        if others < 2:
            return Compared(value, *own, reason="there are no other rows that do not hang together")
        other = (self._sum - float(inside.sum())) / m
        pulls = pulls - ((sums - inside) - other * (sizes - counts)) / m
        spread = math.sqrt(len(sums) / (len(sums) - 1) * float((pulls**2).sum()))
        if spread == 0:
            return Compared(value, value, value, reason="the figure is the same in all rows")
        freedom = min(groups, others) - 1
        wide = _t(self.level, freedom) * spread
        p_value = _t_test((mean - other) / spread, freedom)
        return _compared(value, own, mean - other, (wide, wide), p_value)


def _compared(
    value: float, own: tuple[float, float], difference: float, reach: tuple[float, float], p_value: float
) -> Compared:
    low, high = _rounded(difference - reach[0], difference + reach[1])
    return Compared(value, *own, round(difference, DECIMALS), low, high, round(p_value, DECIMALS))


def _rounded(low: float, high: float) -> tuple[float, float]:
    return round(low, DECIMALS), round(high, DECIMALS)


def _z(level: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf((1 + level) / 2)


def _t(level: float, freedom: float) -> float:
    return float(need("scipy.special", "train").stdtrit(freedom, (1 + level) / 2))


def _t_test(statistic: float, freedom: float) -> float:
    return float(2 * need("scipy.special", "train").stdtr(freedom, -abs(statistic)))
