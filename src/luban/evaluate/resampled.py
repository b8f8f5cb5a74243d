"""Metrics over many bootstrap resamples at once, as products of per-row figures with row counts.

A resample is a row of W [R, N]: how often each test row was drawn. Every function here gives [R]
float64 and NaN where a resample does not define the metric (no row of a class). With W all ones they
equal scikit-learn's figures in `metrics.py`, which a test holds them to; they exist because 1,000
calls of scikit-learn take a minute where these take a second.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from luban.evaluate.calibration import bin_of
from luban.evaluate.scored import Scored


class Draws:
    """Resamples of one model's scored rows; counts that several metrics share are taken once."""

    def __init__(self, rows: Scored, weights: np.ndarray) -> None:
        self.rows = rows
        self.weights = weights
        """[R, N] float64 counts, each row sums to the size of the resample."""
        self._ranked: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    @cached_property
    def total(self) -> np.ndarray:
        """[R]: rows in each resample."""
        return np.asarray(self.weights.sum(axis=1))

    def mean(self, figure: np.ndarray) -> np.ndarray:
        """[R]: the mean of a per-row figure [N]."""
        return np.asarray((self.weights @ np.asarray(figure, dtype=np.float64)) / self.total)

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of true and predicted class that occur, as numbers [K], and their draws [R, K]."""
        pairs = self.rows.truth * self.rows.num_classes + self.rows.predicted
        order = np.argsort(pairs, kind="stable")
        found, starts = np.unique(pairs[order], return_index=True)
        return found, np.add.reduceat(self.weights[:, order], starts, axis=1)

    def _by_class(self, of_cell: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """[R, C]: draws of the kept cells, summed by the class [K] that each cell counts for."""
        out = np.zeros((len(self.weights), self.rows.num_classes))
        np.add.at(out.T, of_cell[keep], self._cells[1].T[keep])
        return out

    @cached_property
    def support(self) -> np.ndarray:
        """[R, C]: draws of each true class, or of rows that have each tag."""
        if self.rows.tags is not None:
            return np.asarray(self.weights @ self.rows.truth.astype(np.float64))
        pairs, _ = self._cells
        return self._by_class(pairs // self.rows.num_classes, np.ones(len(pairs), bool))

    @cached_property
    def predicted(self) -> np.ndarray:
        """[R, C]: draws of each predicted class, or of rows that are given each tag."""
        if self.rows.tags is not None:
            return np.asarray(self.weights @ self.rows.predicted.astype(np.float64))
        pairs, _ = self._cells
        return self._by_class(pairs % self.rows.num_classes, np.ones(len(pairs), bool))

    @cached_property
    def hits(self) -> np.ndarray:
        """[R, C]: draws of each class or tag that are right."""
        if self.rows.tags is not None:
            both = self.rows.predicted & (self.rows.truth > 0)
            return np.asarray(self.weights @ both.astype(np.float64))
        pairs, _ = self._cells
        true, predicted = np.divmod(pairs, self.rows.num_classes)
        return self._by_class(true, true == predicted)

    def ranked(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws of class or tag `number` and of the rest [R, T] at each distinct score, highest first."""
        if number in self._ranked:
            return self._ranked[number]
        has, score = self.rows.one(number)
        order = np.argsort(-score, kind="stable")
        _, starts = np.unique(-score[order], return_index=True)
        weights = self.weights[:, order]
        positives = np.add.reduceat(weights * has[order], starts, axis=1)
        found = positives, np.add.reduceat(weights, starts, axis=1) - positives
        if self.rows.num_classes == 2:  # two metrics share it; with more classes it would hold too much
            self._ranked[number] = found
        return found


def _divide(a: np.ndarray, b: np.ndarray, otherwise: float = np.nan) -> np.ndarray:
    out = np.full(np.broadcast(a, b).shape, otherwise)
    np.divide(a, b, out=out, where=b > 0)
    return out


def _mean_of(values: np.ndarray, occurs: np.ndarray) -> np.ndarray:
    """[R]: the mean over classes [R, C] that occur, NaN where none does."""
    return _divide(np.where(occurs, values, 0.0).sum(axis=1), occurs.sum(axis=1))


def accuracy(draws: Draws) -> np.ndarray:
    """Share of rows that are right."""
    return draws.mean(draws.rows.right)


def balanced_accuracy(draws: Draws) -> np.ndarray:
    """Mean recall of the classes that occur."""
    return _mean_of(_divide(draws.hits, draws.support, 0.0), draws.support > 0)


def _pick(draws: Draws, per_class: np.ndarray) -> np.ndarray:
    """Two classes: the second one's; more: the mean over classes that occur or are predicted."""
    if draws.rows.num_classes == 2:
        return per_class[:, 1]
    return _mean_of(np.nan_to_num(per_class), (draws.support > 0) | (draws.predicted > 0))


def precision(draws: Draws) -> np.ndarray:
    """Share of given answers that are right; 0 where a class is never given."""
    return _pick(draws, _divide(draws.hits, draws.predicted, 0.0))


def recall(draws: Draws) -> np.ndarray:
    """Share of a class that is found."""
    return _pick(draws, _divide(draws.hits, draws.support))


def _f1(draws: Draws) -> np.ndarray:
    return _divide(2 * draws.hits, draws.support + draws.predicted)


def f1(draws: Draws) -> np.ndarray:
    """Harmonic mean of precision and recall."""
    return _pick(draws, _f1(draws))


def f1_micro(draws: Draws) -> np.ndarray:
    """F1 over all decisions; where a row has one class, the share of rows that are right."""
    if draws.rows.tags is None:
        return accuracy(draws)
    return _divide(2 * draws.hits.sum(axis=1), (draws.support + draws.predicted).sum(axis=1))


def f1_samples(draws: Draws) -> np.ndarray:
    """Mean over rows of the F1 of their tags; 1 for a row without tags that is given none."""
    truth, predicted = draws.rows.truth > 0, draws.rows.predicted
    size = truth.sum(axis=1) + predicted.sum(axis=1)
    return draws.mean(_divide(2.0 * (truth & predicted).sum(axis=1), size, 1.0))


def hamming_loss(draws: Draws) -> np.ndarray:
    """Share of decisions on a tag that are wrong."""
    return draws.mean(((draws.rows.truth > 0) != draws.rows.predicted).mean(axis=1))


def rank_mae(draws: Draws) -> np.ndarray:
    """Mean number of ranks that an answer is off."""
    return draws.mean(np.abs(draws.rows.truth - draws.rows.predicted))


def quadratic_kappa(draws: Draws) -> np.ndarray:
    """1 - squared rank errors over those of answers dealt out at random (Cohen 1968)."""
    ranks = np.arange(draws.rows.num_classes, dtype=np.float64)
    squares = draws.mean((draws.rows.truth - draws.rows.predicted) ** 2.0)
    true, given = draws.support / draws.total[:, None], draws.predicted / draws.total[:, None]
    # the mean square of the difference of two independent draws
    chance = true @ ranks**2 + given @ ranks**2 - 2 * (true @ ranks) * (given @ ranks)
    return 1 - _divide(squares, np.where(chance > 1e-12, chance, 0.0))


def f1_macro(draws: Draws) -> np.ndarray:
    """Mean F1 over classes or tags that occur or are predicted."""
    return _mean_of(np.nan_to_num(_f1(draws)), (draws.support > 0) | (draws.predicted > 0))


def _over_classes(draws: Draws, of: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Two classes: the second against the first; more, and tags: the mean of each one against the rest."""
    if draws.rows.num_classes == 2:
        return of(*draws.ranked(1))
    total = np.zeros(len(draws.weights))
    count = np.zeros(len(draws.weights))
    truth = draws.rows.truth
    for number in np.unique(truth) if draws.rows.tags is None else np.flatnonzero(truth.any(axis=0)):
        found = of(*draws.ranked(int(number)))
        defined = ~np.isnan(found)
        total += np.where(defined, found, 0.0)
        count += defined
    return _divide(total, count)


def _area(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    above = np.cumsum(positives, axis=1) - positives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _divide((above * negatives).sum(axis=1), pairs)


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    hits = np.cumsum(positives, axis=1)
    given = hits + np.cumsum(negatives, axis=1)
    drawn = np.where(negatives.sum(axis=1) > 0, positives.sum(axis=1), 0.0)  # without both there is no ranking
    return _divide((positives * _divide(hits, given, 0.0)).sum(axis=1), drawn)


def roc_auc(draws: Draws) -> np.ndarray:
    """Chance that a positive row is ranked above a negative one, ties half."""
    return _over_classes(draws, _area)


def pr_auc(draws: Draws) -> np.ndarray:
    """Average precision."""
    return _over_classes(draws, _average_precision)


def log_loss(draws: Draws) -> np.ndarray:
    """Mean of -ln(probability of the true class); of tags, of what is true of each one."""
    if draws.rows.tags is not None:
        given = np.where(draws.rows.truth > 0, draws.rows.tags, 1 - draws.rows.tags)
        return draws.mean(-np.log(np.clip(given, np.finfo(np.float64).eps, 1.0)).mean(axis=1))
    chosen = draws.rows.probability[np.arange(len(draws.rows)), draws.rows.truth]
    return draws.mean(-np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0)))


def brier(draws: Draws) -> np.ndarray:
    """Mean squared error of probabilities: of the second class for two, summed over more; of tags the mean."""
    rows = draws.rows
    if rows.tags is not None:
        return draws.mean(((rows.tags - rows.truth) ** 2).mean(axis=1))
    if rows.num_classes == 2:
        return draws.mean((rows.probability[:, 1] - (rows.truth == 1)) ** 2)
    chosen = rows.probability[np.arange(len(rows)), rows.truth]
    return draws.mean((rows.probability**2).sum(axis=1) - 2 * chosen + 1)


def ece(draws: Draws) -> np.ndarray:
    """Expected calibration error over the bins of `calibration.py`."""
    claimed, holds = draws.rows.claims
    bins, gap = bin_of(claimed), holds - claimed
    error = np.zeros(len(draws.weights))
    for number in np.unique(bins):
        error += np.abs(draws.weights @ np.where(bins == number, gap, 0.0).sum(axis=1))
    return np.asarray(error / draws.total / claimed.shape[1])


def mse(draws: Draws) -> np.ndarray:
    """Mean squared error."""
    return draws.mean(draws.rows.residual**2)


def rmse(draws: Draws) -> np.ndarray:
    """Root of the mean squared error."""
    return np.asarray(np.sqrt(mse(draws)))


def mae(draws: Draws) -> np.ndarray:
    """Mean absolute error."""
    return draws.mean(np.abs(draws.rows.residual))


def r2(draws: Draws) -> np.ndarray:
    """Share of the variance that is explained; NaN where a resample has no variance."""
    truth = draws.rows.truth - draws.rows.truth.mean()
    variance = draws.mean(truth**2) - draws.mean(truth) ** 2
    tiny = 1e-12 * max(float((truth**2).mean()), np.finfo(np.float64).tiny)
    return 1 - _divide(mse(draws), np.where(variance > tiny, variance, 0.0))


def coverage(draws: Draws) -> np.ndarray:
    """Share of rows whose truth lies within the given interval."""
    rows = draws.rows
    assert rows.low is not None
    assert rows.high is not None
    return draws.mean((rows.low <= rows.truth) & (rows.truth <= rows.high))
