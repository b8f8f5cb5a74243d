"""From which probability on something is answered: chosen on validation rows.

Decided here: a threshold lies midway between two neighbouring probabilities, so that it stands on no row;
of equally good ones the one nearest to 0.5 is taken; without rows, or without both answers among them, it
is 0.5. Probabilities are calibrated before. Knows no task.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DECIMALS = 6


def f1_threshold(probabilities: np.ndarray, positive: np.ndarray) -> float:
    """The threshold with the highest F1 for probabilities [B] of what is so where `positive` [B] bool is.

    >>> f1_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True]))
    0.15
    """
    return _best(probabilities, positive, lambda hits, given, true, rows: 2 * hits / (given + true))


def balanced_threshold(probabilities: np.ndarray, positive: np.ndarray) -> float:
    """The threshold with the highest mean of the shares of positives and of negatives that are found.

    >>> balanced_threshold(np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, False, True, True]))
    0.25
    """
    return _best(
        probabilities,
        positive,
        lambda hits, given, true, rows: (hits / true + 1 - (given - hits) / (rows - true)) / 2,
    )


def constant_threshold(probabilities: np.ndarray) -> float:
    """From which probability on tags with these constant probabilities [n] are best given to every row.

    The F1 over all decisions that is to be expected is then highest (Ye et al., "Optimizing F-measures: a tale of
    two approaches", 2012).

    >>> constant_threshold(np.array([0.6, 0.5, 0.1]))
    0.5
    """
    descending = np.sort(probabilities)[::-1]
    expected = 2 * np.cumsum(descending) / (np.arange(1, len(descending) + 1) + descending.sum())
    return float(descending[int(np.argmax(expected))])


Figure = Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]
"""Of hits and rows given [K] at each cut, and the numbers of positives and of rows: what is to be highest, [K]."""


def _best(probabilities: np.ndarray, positive: np.ndarray, figure: Figure) -> float:
    true, rows = int(positive.sum()), len(positive)
    if not 0 < true < rows:
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    sorted_p = probabilities[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_p) != 0, True))  # cuts only where the probability changes
    hits, given = np.cumsum(positive[order])[ends].astype(np.float64), ends + 1.0
    following = np.append(sorted_p[ends[:-1] + 1], 0.0) if len(ends) > 1 else np.zeros(1)
    cuts = (sorted_p[ends] + following) / 2
    found = figure(hits, given, float(true), float(rows))
    best = np.flatnonzero(found >= found.max() - 1e-12)
    return round(float(cuts[best[np.argmin(np.abs(cuts[best] - 0.5))]]), DECIMALS)
