"""One model's answers to the test rows, as arrays that metrics read.

Decided here: the predicted class is the most probable one, ties to the lower number, but of two classes
the second from the `threshold` of the decoding on, as answers are given; probabilities are float64 rows
that sum to one; a regression's truth goes the same way from the head's scale to
that of the scores as the model's outputs do, so that errors are in units of the target.
This module knows tasks by their contract alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from luban.errors import DataError
from luban.tasks.base import Decoding, Task

KNOWS_LABELS, KNOWS_VALUES, KNOWS_INTERVAL = "probabilities", "values", "interval"


@dataclass(frozen=True, eq=False)
class Scored:
    """Truth and answers for B rows; exactly one of `probabilities` and `values` is there."""

    truth: np.ndarray
    """[B] int64 class numbers, or [B] float64 values."""
    probabilities: np.ndarray | None = None
    """[B, C] float64."""
    values: np.ndarray | None = None
    """[B] float64."""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    """[B] float64: the interval given with each value."""
    threshold: float | None = None
    """Of two classes, the probability of the second from which it is predicted."""

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def has(self) -> frozenset[str]:
        """What a metric may need: probabilities, values, interval."""
        found = {KNOWS_LABELS} if self.probabilities is not None else {KNOWS_VALUES}
        return frozenset(found | ({KNOWS_INTERVAL} if self.low is not None else set()))

    @property
    def num_classes(self) -> int:
        """C; 0 for regression."""
        return 0 if self.probabilities is None else self.probabilities.shape[1]

    @cached_property
    def probability(self) -> np.ndarray:
        """[B, C]; only for classification."""
        assert self.probabilities is not None
        return self.probabilities

    @cached_property
    def value(self) -> np.ndarray:
        """[B]; only for regression."""
        assert self.values is not None
        return self.values

    @cached_property
    def predicted(self) -> np.ndarray:
        """[B] int64: the class that is answered."""
        if self.threshold is not None and self.num_classes == 2:
            return (self.probability[:, 1] >= self.threshold).astype(np.int64)
        return np.asarray(self.probability.argmax(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """[B]: the probability of the predicted class."""
        return np.asarray(self.probability[np.arange(len(self)), self.predicted])

    @cached_property
    def right(self) -> np.ndarray:
        """[B] bool: predicted is true."""
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def residual(self) -> np.ndarray:
        """[B]: value minus truth."""
        return np.asarray(self.value - self.truth)


def truth_of(task: Task, decoding: Decoding, y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The truth as scores have it: class numbers [B] int64, or values [B] float64 in units of the target.

    y [B] is what `task.target` gave; `outputs` [B, n] show whether this task gives probabilities. A
    value goes through `task.scores` as a perfect output would.
    """
    if np.ndim(task.scores(outputs[:1], decoding)) == 2:
        return y.astype(np.int64)
    return np.asarray(task.scores(y.reshape(-1, 1).astype(np.float64), decoding), dtype=np.float64)


def scored(task: Task, decoding: Decoding, truth: np.ndarray, outputs: np.ndarray) -> Scored:
    """The answers that outputs [B, n] mean under `decoding`, beside the truth [B] of `truth_of`.

    Raises DataError where there are no rows, lengths differ or an output is not finite.
    """
    if len(truth) == 0:
        raise DataError("`y` must have at least one row, but got none.", "Give the split a test share above zero.")
    if len(outputs) != len(truth):
        raise DataError(f"`outputs` must have {len(truth)} rows as `y` does, but got {len(outputs)}.")
    bad = np.flatnonzero(~np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1))
    if len(bad):
        raise DataError(
            f"Outputs must be finite, but {len(bad)} of {len(truth)} rows are not, the first at position {bad[0]}.",
            "The model diverged: train it with another seed, a smaller step or scaled inputs.",
        )
    scores = np.asarray(task.scores(outputs, decoding), dtype=np.float64)
    if scores.ndim == 2:
        total = scores.sum(axis=1, keepdims=True)
        probabilities = scores / np.where(total > 0, total, 1)
        return Scored(truth, probabilities=probabilities, threshold=decoding.get("threshold"))
    low, high = _interval(task, decoding, outputs)
    return Scored(truth, values=scores, low=low, high=high)


def _interval(task: Task, decoding: Decoding, outputs: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`low` and `high` of the decoded answers, where the task gives them for every row."""
    columns = task.decode(outputs, decoding, task.Options()).columns
    low, high = columns.get("low"), columns.get("high")
    if low is None or high is None or None in low or None in high:
        return None, None
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
