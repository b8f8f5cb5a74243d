"""Which of two bundles is faster: asked in turn, the ratio of medians with an interval.

Decided here: the two take turns, so that what else the machine does falls on both alike; the interval is a
bootstrap of pairs (Efron 1979). What the clock said is for the caller to record before it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle

WARM_UP, PAIRS, LEAST_PAIRS, MAX_SECONDS = 10, 300, 30, 2.0
BATCH = 64
NUM_RESAMPLES = 1000
LEVEL = 0.95


def compare_times(before: Bundle, after: Bundle, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds of one row and of a batch: `p50_ms` and `p95_ms` as [before, after], `row` and `batch`
    as the ratio after / before with `low` and `high`. `rows` are at least one.
    """
    single = _pairs(lambda bundle, number: bundle.predict([rows[number % len(rows)]]), before, after)
    many = [rows[number % len(rows)] for number in range(BATCH)]
    batch = _pairs(lambda bundle, number: bundle.predict(many), before, after)
    p50, p95 = np.quantile(single, [0.5, 0.95], axis=0)
    return {
        "p50_ms": [round(float(value), 4) for value in p50],
        "p95_ms": [round(float(value), 4) for value in p95],
        "row": _ratio(single),
        "batch": {**_ratio(batch), "rows": BATCH, "ms": [round(float(v), 4) for v in np.median(batch, axis=0)]},
    }


def _pairs(ask: Callable[[Bundle, int], object], before: Bundle, after: Bundle) -> np.ndarray:
    """Milliseconds [N, 2] of calls in turn."""
    for number in range(WARM_UP):
        ask(before, number)
        ask(after, number)
    found: list[tuple[float, float]] = []
    end = time.perf_counter() + MAX_SECONDS
    while len(found) < PAIRS and (len(found) < LEAST_PAIRS or time.perf_counter() < end):
        number = len(found)
        start = time.perf_counter()
        ask(before, number)
        middle = time.perf_counter()
        ask(after, number)
        found.append(((middle - start) * 1000, (time.perf_counter() - middle) * 1000))
    return np.array(found)


def _ratio(pairs: np.ndarray) -> dict[str, float]:
    """The ratio of medians after / before, with the interval of a bootstrap over pairs."""
    drawn = np.random.default_rng(0).integers(0, len(pairs), (NUM_RESAMPLES, len(pairs)))
    medians = np.median(pairs[drawn], axis=1)
    low, high = np.quantile(medians[:, 1] / medians[:, 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = np.median(pairs[:, 1]) / np.median(pairs[:, 0])
    return {"value": round(float(value), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
