"""One model's answers to the test rows, as arrays that metrics read.

There are three forms: one class a row (`probabilities`), several tags a row (`tags`), one value a row
(`values`). Decided here: the answer is what the task says that it answers (`Task.answered`), else the most
probable class, ties to the lower number, but of two classes the second from `threshold` on; probabilities
are float64 rows that sum to one, those of tags each stand alone; a regression's truth goes the same way
from the head's scale to that of the scores as the model's outputs do, so that errors are in units of the
target. This module knows tasks by their contract alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from luban.errors import DataError
from luban.tasks.base import Decoding, Task

KNOWS_LABELS, KNOWS_VALUES, KNOWS_INTERVAL = "probabilities", "values", "interval"
KNOWS_TAGS, KNOWS_ORDER, KNOWS_ANSWERS = "tags", "order", "answers"
"""Several tags a row; classes that have an order; answers that are right or wrong (classes or tags)."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Truth and answers for B rows; exactly one of `probabilities`, `values` and `tags` is there."""

    truth: np.ndarray
    """[B] int64 class numbers, or [B] float64 values, or [B, n] int64 in {0, 1} by tag."""
    probabilities: np.ndarray | None = None
    """[B, C] float64."""
    values: np.ndarray | None = None
    """[B] float64."""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    """[B] float64: the interval given with each value."""
    threshold: float | None = None
    """Of two classes, the probability of the second from which it is predicted."""
    tags: np.ndarray | None = None
    """[B, n] float64: the probability of each tag, whatever the others are."""
    answered: np.ndarray | None = None
    """What the task answers: class numbers [B] int64, or tags [B, n] bool."""
    ordered: bool = False
    """Class numbers are ranks."""

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: np.ndarray) -> Scored:
        """The same of some rows: positions [M] int64, which may repeat, or bool [B]."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **{name: a[rows] for name, a in arrays.items() if isinstance(a, np.ndarray)})

    @property
    def has(self) -> frozenset[str]:
        """What a metric may need: probabilities, tags, order, answers, values, interval."""
        if self.tags is not None:
            return frozenset({KNOWS_TAGS, KNOWS_ANSWERS})
        if self.probabilities is not None:
            return frozenset({KNOWS_LABELS, KNOWS_ANSWERS} | ({KNOWS_ORDER} if self.ordered else set()))
        return frozenset({KNOWS_VALUES} | ({KNOWS_INTERVAL} if self.low is not None else set()))

    @property
    def num_classes(self) -> int:
        """C, where a row has one class; 0 for tags and values."""
        return 0 if self.probabilities is None else self.probabilities.shape[1]

    @property
    def num_labels(self) -> int:
        """Classes or tags; 0 for values."""
        return self.num_classes if self.tags is None else self.tags.shape[1]

    @cached_property
    def probability(self) -> np.ndarray:
        """[B, C], or [B, n] of tags; only where there are classes or tags."""
        found = self.probabilities if self.tags is None else self.tags
        assert found is not None
        return found

    def one(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Bool [B], whether a row has this class or tag, and its probability [B]: one against the rest."""
        has = self.truth == number if self.tags is None else self.truth[:, number] > 0
        return np.asarray(has), np.asarray(self.probability[:, number])

    @cached_property
    def value(self) -> np.ndarray:
        """[B]; only for regression."""
        assert self.values is not None
        return self.values

    @cached_property
    def predicted(self) -> np.ndarray:
        """[B] int64: the class that is answered; of tags [B, n] bool."""
        if self.threshold is not None and self.num_classes == 2:
            return (self.probability[:, 1] >= self.threshold).astype(np.int64)
        if self.answered is not None:
            return self.answered
        if self.tags is not None:
            return np.asarray(self.tags >= 0.5)
        return np.asarray(self.probability.argmax(axis=1))

    @cached_property
    def confidence(self) -> np.ndarray:
        """[B]: the probability of the predicted class; of tags that of its least sure decision."""
        if self.tags is not None:
            return np.asarray(np.where(self.predicted, self.tags, 1 - self.tags).min(axis=1))
        return np.asarray(self.probability[np.arange(len(self)), self.predicted])

    @cached_property
    def claims(self) -> tuple[np.ndarray, np.ndarray]:
        """What calibration is about: probabilities [B, m] that something holds, and whether it does [B, m] bool.

        The predicted class (m = 1), or each tag.
        """
        if self.tags is not None:
            return self.tags, self.truth > 0
        return self.confidence[:, None], self.right[:, None]

    @cached_property
    def right(self) -> np.ndarray:
        """[B] bool: predicted is true; of tags, all of them."""
        if self.tags is not None:
            return np.asarray((self.predicted == (self.truth > 0)).all(axis=1))
        return np.asarray(self.predicted == self.truth)

    @cached_property
    def residual(self) -> np.ndarray:
        """[B]: value minus truth."""
        return np.asarray(self.value - self.truth)


def truth_of(task: Task, decoding: Decoding, y: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """The truth as scores have it: class numbers [B] or tags [B, n] int64, or values [B] float64 in units of the
    target.

    y is what `task.target` gave; `outputs` [B, n] show whether this task gives probabilities. A
    value goes through `task.scores` as a perfect output would.
    """
    if np.ndim(task.scores(outputs[:1], decoding)) == 2:
        return task.truth(y)
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
        answered = task.answered(scores, decoding)
        if answered.ndim == 2:
            return Scored(truth, tags=scores, answered=answered)
        total = scores.sum(axis=1, keepdims=True)
        probabilities = scores / np.where(total > 0, total, 1)
        threshold = decoding.get("threshold")
        return Scored(truth, probabilities, threshold=threshold, answered=answered, ordered=task.ordered)
    low, high = _interval(task, decoding, outputs)
    return Scored(truth, values=scores, low=low, high=high)


def _interval(task: Task, decoding: Decoding, outputs: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`low` and `high` of the decoded answers, where the task gives them for every row."""
    columns = task.decode(outputs, decoding, task.Options()).columns
    low, high = columns.get("low"), columns.get("high")
    if low is None or high is None or None in low or None in high:
        return None, None
    return np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
