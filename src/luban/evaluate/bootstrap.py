"""Intervals by the bootstrap, for many metrics and models on the same resamples.

Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979; percentile intervals as in
Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13. Decided here: all models and
metrics see the same resamples, so that differences are paired; resamples that do not define a
metric are left out of its interval, and an interval needs half of them; rows that hang together (clusters)
are drawn together, as in Davison and Hinkley, "Bootstrap Methods and their Application", 1997, sec. 3.8; work is
done in pieces of bounded memory. It knows no metric by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from luban.evaluate.metrics import Metric
from luban.evaluate.resampled import Draws
from luban.evaluate.scored import Scored

PIECE = 2_000_000
"""Counts (resamples × rows) held at once: 16 MB of float64."""
WORK = 100_000_000
"""Resamples × rows drawn at most: beyond, fewer resamples, but never under FEWEST."""
COSTLY_WORK = 40_000_000
"""Resamples × rows × classes or tags for a metric that ranks rows once a class; beyond, fewer, then none."""
FEWEST = 200
"""Resamples below which an interval is not worth its name."""

Figures = dict[str, dict[str, np.ndarray]]
"""By model, by metric: [R] float64, NaN where undefined."""


def draws_of(num_rows: int, num_resamples: int, seed: int, clusters: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Counts [r, num_rows] float64 of rows drawn with replacement, piece by piece.

    With `clusters` [num_rows] int64 from 0, as many clusters are drawn as there are, each with all its rows.
    """
    rng = np.random.default_rng(seed)
    units = num_rows if clusters is None else int(clusters.max()) + 1
    size = max(1, min(num_resamples, PIECE // max(num_rows, 1)))
    for start in range(0, num_resamples, size):
        count = min(size, num_resamples - start)
        drawn = rng.integers(0, units, size=(count, units))
        flat = (drawn + np.arange(count)[:, None] * units).ravel()
        counts = np.bincount(flat, minlength=count * units).reshape(count, units).astype(np.float64)
        yield counts if clusters is None else counts[:, clusters]


def resample(
    models: Mapping[str, Scored],
    metrics: Mapping[str, Metric],
    num_resamples: int,
    seed: int,
    clusters: np.ndarray | None = None,
) -> Figures:
    """Every metric of every model over the same resamples; see `enough` for how many of them."""
    rows = next(iter(models.values()))
    wanted = {name: enough(metric, rows, num_resamples) for name, metric in metrics.items()}
    if clusters is not None and len(rows) > 1 and not clusters.any():
        wanted = dict.fromkeys(metrics, 0)  # one cluster, drawn again and again, says nothing
    found: dict[str, dict[str, list[np.ndarray]]] = {name: {m: [] for m in metrics} for name in models}
    done = 0
    for weights in draws_of(len(rows), max(wanted.values()), seed, clusters):
        for name, scored in models.items():
            draws = Draws(scored, weights)
            for metric_name, metric in metrics.items():
                if done < wanted[metric_name]:
                    found[name][metric_name].append(metric.resampled(draws)[: wanted[metric_name] - done])
        done += len(weights)
    return {
        name: {m: np.concatenate(pieces) if pieces else np.zeros(0) for m, pieces in by_metric.items()}
        for name, by_metric in found.items()
    }


def enough(metric: Metric, rows: Scored, num_resamples: int) -> int:
    """Resamples that a metric is given: all, or what the bounds on work allow; 0 if too few for an interval.

    A million test rows give narrow intervals from 200 resamples; a ranking of 500 classes gives none.
    """
    allowed = min(num_resamples, max(WORK // len(rows), FEWEST))
    if not metric.costly:
        return allowed
    costly = COSTLY_WORK // (len(rows) * max(rows.num_labels - 1, 1))
    return 0 if costly < min(FEWEST, num_resamples) else min(allowed, costly)


def interval(figures: np.ndarray, level: float) -> tuple[float | None, float | None, int]:
    """Percentile interval and the number of resamples it stands on; None, None, 0 below half.

    >>> interval(np.arange(101.0), 0.9)
    (5.0, 95.0, 101)
    """
    defined = figures[np.isfinite(figures)]
    if len(defined) == 0 or 2 * len(defined) < len(figures):
        return None, None, 0
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return round(float(low), 10), round(float(high), 10), len(defined)
