"""The table of metrics: name, direction, what each needs, and how it is computed.

The value is scikit-learn's (extra `train`, imported when asked), but for areas over very many classes;
`resampled` is its twin over many bootstrap resamples, which a test holds to it. Decided here: for two classes
precision, recall and F1 are of the second class, for more the mean over classes (macro); ROC and PR areas of
more classes are the mean of each one against the rest, over classes that occur in the test rows. Where a row
has several tags, figures are of the decisions on each tag, the mean over tags that occur or are given (macro). A
metric that its rows do not define gives a sentence in place of a number. Tasks name metrics by string; this
module knows no task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.catalog import nearest, need
from luban.errors import UnknownName
from luban.evaluate import resampled
from luban.evaluate.calibration import expected_calibration_error
from luban.evaluate.scored import (
    KNOWS_ANSWERS,
    KNOWS_INTERVAL,
    KNOWS_LABELS,
    KNOWS_ORDER,
    KNOWS_TAGS,
    KNOWS_VALUES,
    Scored,
)


class Undefined(Exception):
    """These rows do not define the metric; the message says why. Never leaves `evaluate`."""


@dataclass(frozen=True)
class Metric:
    """One metric. `value` raises Undefined; `costly` metrics sort rows once a class and resample; a `share` is one of
    rows."""

    higher_is_better: bool
    needs: str
    value: Callable[[Scored], float]
    resampled: Callable[[resampled.Draws], np.ndarray]
    costly: bool = False
    share: bool = False


_MANY = 50
"""Classes or tags from which areas are computed by their twins: scikit-learn takes milliseconds to check each."""


def _sklearn() -> Any:
    return need("sklearn.metrics", "train")


def _average(rows: Scored) -> str:
    return "binary" if rows.num_classes == 2 else "macro"


def _accuracy(rows: Scored) -> float:
    return float(_sklearn().accuracy_score(rows.truth, rows.predicted))


def _balanced_accuracy(rows: Scored) -> float:
    # recall_score and not balanced_accuracy_score, which warns of classes that are only predicted
    return float(_sklearn().recall_score(rows.truth, rows.predicted, labels=np.unique(rows.truth), average="macro"))


def _precision(rows: Scored) -> float:
    found = _sklearn().precision_score(rows.truth, rows.predicted, average=_average(rows), zero_division=0)
    return float(found)


def _recall(rows: Scored) -> float:
    if rows.num_classes == 2 and not (rows.truth == 1).any():
        raise Undefined("no test row is of the second class")
    found = _sklearn().recall_score(rows.truth, rows.predicted, average=_average(rows), zero_division=0)
    return float(found)


def _f1(rows: Scored) -> float:
    if rows.num_classes == 2 and not (rows.truth == 1).any() and not (rows.predicted == 1).any():
        raise Undefined("no test row is of the second class, and none is predicted to be")
    return float(_sklearn().f1_score(rows.truth, rows.predicted, average=_average(rows), zero_division=0))


def indicators(rows: Scored) -> tuple[np.ndarray, np.ndarray]:
    """Truth and answers as scikit-learn takes them: class numbers [B], or tags [B, n] with n of two at least."""
    if rows.num_labels > 1 or rows.tags is None:
        return rows.truth, rows.predicted
    # of a single column scikit-learn would make two classes
    nothing = np.zeros_like(rows.truth)
    return np.hstack([rows.truth, nothing]), np.hstack([rows.predicted, nothing])


def _f1_micro(rows: Scored) -> float:
    if rows.tags is not None and not rows.truth.any() and not rows.predicted.any():
        raise Undefined("no test row has a tag, and none is given one")
    return float(_sklearn().f1_score(*indicators(rows), average="micro", zero_division=0))


def _f1_macro(rows: Scored) -> float:
    if rows.tags is None:
        return float(_sklearn().f1_score(rows.truth, rows.predicted, average="macro", zero_division=0))
    there = rows.truth.any(axis=0) | rows.predicted.any(axis=0)
    if not there.any():
        raise Undefined("no test row has a tag, and none is given one")
    numbers = np.flatnonzero(there)
    return float(_sklearn().f1_score(*indicators(rows), labels=numbers, average="macro", zero_division=0))


def _f1_samples(rows: Scored) -> float:
    # one, and not scikit-learn's zero, for a row without tags that is given none: it is right
    return float(_sklearn().f1_score(*indicators(rows), average="samples", zero_division=1.0))


def _hamming(rows: Scored) -> float:
    return float(np.mean((rows.truth > 0) != rows.predicted))


def _subset_accuracy(rows: Scored) -> float:
    return float(_sklearn().accuracy_score(rows.truth, rows.predicted))


def _one_against_rest(name: str, twin: Callable[[resampled.Draws], np.ndarray]) -> Callable[[Scored], float]:
    def value(rows: Scored) -> float:
        score = getattr(_sklearn(), name)
        if rows.num_classes == 2:
            numbers = [1] if len(np.unique(rows.truth)) == 2 else []
        elif rows.tags is None:
            numbers = np.unique(rows.truth).tolist() if len(np.unique(rows.truth)) > 1 else []
        else:
            numbers = np.flatnonzero(rows.truth.any(axis=0) & ~rows.truth.all(axis=0)).tolist()
        if not numbers:
            raise Undefined("all test rows are of one class" if rows.tags is None else "no tag tells test rows apart")
        if len(numbers) > _MANY:
            return float(twin(resampled.Draws(rows, np.ones((1, len(rows)))))[0])
        return float(np.mean([score(*rows.one(number)) for number in numbers]))

    return value


def _log_loss(rows: Scored) -> float:
    if rows.tags is not None:
        given, truth = rows.tags.ravel(), rows.truth.ravel()
        return float(_sklearn().log_loss(truth, np.stack([1 - given, given], axis=1), labels=[0, 1]))
    return float(_sklearn().log_loss(rows.truth, rows.probability, labels=np.arange(rows.num_classes)))


def _brier(rows: Scored) -> float:
    if rows.tags is not None:
        return float(_sklearn().mean_squared_error(rows.truth.ravel(), rows.tags.ravel()))
    if rows.num_classes == 2:
        return float(_sklearn().brier_score_loss(rows.truth == 1, rows.probability[:, 1]))
    one_hot = np.eye(rows.num_classes)[rows.truth]
    return float(_sklearn().mean_squared_error(one_hot, rows.probability) * rows.num_classes)


def _quadratic_kappa(rows: Scored) -> float:
    if len(np.unique(np.concatenate([rows.truth, rows.predicted]))) < 2:
        raise Undefined("all test rows are of one class, and all are answered so")
    labels = np.arange(rows.num_classes)
    return float(_sklearn().cohen_kappa_score(rows.truth, rows.predicted, labels=labels, weights="quadratic"))


def _rank_mae(rows: Scored) -> float:
    return float(_sklearn().mean_absolute_error(rows.truth, rows.predicted))


def _error_of(name: str) -> Callable[[Scored], float]:
    return lambda rows: float(getattr(_sklearn(), name)(rows.truth, rows.value))


def _r2(rows: Scored) -> float:
    if len(rows) < 2 or np.ptp(rows.truth) == 0:
        raise Undefined("the test rows' targets are all equal")
    return float(_sklearn().r2_score(rows.truth, rows.value))


def _coverage(rows: Scored) -> float:
    return float(resampled.coverage(resampled.Draws(rows, np.ones((1, len(rows)))))[0])


def _classes(
    higher_is_better: bool,
    value: Callable[[Scored], float],
    twin: Callable[[resampled.Draws], np.ndarray],
    needs: str = KNOWS_LABELS,
    costly: bool = False,
) -> Metric:
    return Metric(higher_is_better, needs, value, twin, costly)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(True, KNOWS_LABELS, _accuracy, resampled.accuracy, share=True),
    "balanced_accuracy": _classes(True, _balanced_accuracy, resampled.balanced_accuracy),
    "precision": _classes(True, _precision, resampled.precision),
    "recall": _classes(True, _recall, resampled.recall),
    "f1": _classes(True, _f1, resampled.f1),
    "f1_micro": _classes(True, _f1_micro, resampled.f1_micro, KNOWS_ANSWERS),
    "f1_macro": _classes(True, _f1_macro, resampled.f1_macro, KNOWS_ANSWERS),
    "f1_samples": _classes(True, _f1_samples, resampled.f1_samples, KNOWS_TAGS),
    "subset_accuracy": Metric(True, KNOWS_TAGS, _subset_accuracy, resampled.accuracy, share=True),
    "hamming_loss": _classes(False, _hamming, resampled.hamming_loss, KNOWS_TAGS),
    "quadratic_kappa": _classes(True, _quadratic_kappa, resampled.quadratic_kappa, KNOWS_ORDER),
    "rank_mae": _classes(False, _rank_mae, resampled.rank_mae, KNOWS_ORDER),
    "roc_auc": _classes(
        True, _one_against_rest("roc_auc_score", resampled.roc_auc), resampled.roc_auc, KNOWS_ANSWERS, costly=True
    ),
    "pr_auc": _classes(
        True,
        _one_against_rest("average_precision_score", resampled.pr_auc),
        resampled.pr_auc,
        KNOWS_ANSWERS,
        costly=True,
    ),
    "log_loss": _classes(False, _log_loss, resampled.log_loss, KNOWS_ANSWERS),
    "brier": _classes(False, _brier, resampled.brier, KNOWS_ANSWERS),
    "ece": _classes(False, expected_calibration_error, resampled.ece, KNOWS_ANSWERS),
    "mse": Metric(False, KNOWS_VALUES, _error_of("mean_squared_error"), resampled.mse),
    "rmse": Metric(False, KNOWS_VALUES, _error_of("root_mean_squared_error"), resampled.rmse),
    "mae": Metric(False, KNOWS_VALUES, _error_of("mean_absolute_error"), resampled.mae),
    "r2": Metric(True, KNOWS_VALUES, _r2, resampled.r2),
    "coverage": Metric(True, KNOWS_INTERVAL, _coverage, resampled.coverage),
}


def metric(name: str) -> Metric:
    """The metric called `name`. Raises UnknownName.

    >>> metric("rmse").higher_is_better
    False
    """
    if name not in METRICS:
        close = nearest(name, METRICS)
        hint = f"Did you mean `{close}`? " if close else ""
        raise UnknownName(f"There is no metric `{name}`.", f"{hint}Known: {', '.join(METRICS)}.")
    return METRICS[name]
