"""Figures: turns, medians, bootstrap intervals, and the line of JSON that a benchmark prints.

Decided here: what is compared takes turns, so that load on the machine falls on all alike; every interval is a
95 % percentile bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13) of 2,000
resamples from a fixed seed; where one row is tested under several splits, rows are resampled and not
answers, because answers to one row are not independent. Knows nothing of what is measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

RESAMPLES, LEVEL = 2000, 0.95
PIECE = 4_000_000


def emit(benchmark: str, what: str, **figures: object) -> None:
    """Print one line of JSON: `benchmark`, `what` is measured, and its figures."""
    print(json.dumps({"benchmark": benchmark, "what": what, **figures}, ensure_ascii=False), flush=True)


def seconds(call: Callable[[], object]) -> float:
    """How long `call` takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def turns(calls: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, np.ndarray]:
    """What each call gives, [repeats] float64 by name: one of each in turn, the order turning with every round."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for repeat in range(repeats):
        shift = repeat % len(names)
        for name in names[shift:] + names[:shift]:
            found[name].append(calls[name]())
    return {name: np.array(values) for name, values in found.items()}


def median(values: np.ndarray | Sequence[float], digits: int = 4) -> float:
    """The median, rounded."""
    return round(float(np.median(values)), digits)


def median_interval(values: np.ndarray | Sequence[float], digits: int = 4) -> list[float]:
    """Interval of the median of independent values."""
    rng = np.random.default_rng(0)
    values = np.asarray(values)
    return bounds(np.median(rng.choice(values, (RESAMPLES, len(values))), axis=1), digits)


def mean_interval(values: np.ndarray, rows: Sequence[Hashable] | np.ndarray, digits: int = 4) -> list[float]:
    """Interval of the mean of `values` [N], each an answer to the row named in `rows` [N]: rows are resampled."""
    numbers: dict[Hashable, int] = {}
    row_n = np.array([numbers.setdefault(row, len(numbers)) for row in rows])
    sum_r, count_r = np.bincount(row_n, values), np.bincount(row_n)
    rng, means = np.random.default_rng(0), []
    piece = max(1, min(RESAMPLES, PIECE // len(numbers)))
    for start in range(0, RESAMPLES, piece):
        drawn = rng.integers(0, len(numbers), (min(piece, RESAMPLES - start), len(numbers)))
        means.append(sum_r[drawn].sum(axis=1) / count_r[drawn].sum(axis=1))
    return bounds(np.concatenate(means), digits)


def bounds(resamples: np.ndarray, digits: int = 4) -> list[float]:
    """The interval that resampled figures span."""
    low, high = np.quantile(resamples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [round(float(low), digits), round(float(high), digits)]


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Two-sided p of McNemar's exact test: [N] bool, who was right."""
    from scipy.stats import binomtest

    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if not only_ours + only_theirs:
        return 1.0
    return round(float(binomtest(only_ours, only_ours + only_theirs).pvalue), 6)
