"""The number that explanations speak of: one for each class, or the value itself.

Decided here: of classes it is the log-odds of the probability that is answered, ln(p / (1 - p)), calibration
included, computed from the outputs before squashing so that it does not saturate; effects add up there and not in
probabilities, and for two classes it is the head's own output. Of numbers it is the value in the target's unit. Knows
heads, not tasks by name; a head that it has no exact form for goes through the task's probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from luban.bundle.bundle import Bundle
from luban.errors import ConfigError

LOG_ODDS, VALUE = "log-odds", "value"
_LEAST = 1e-12
"""Probabilities that are not taken from logits are kept this far from 0 and 1."""


@dataclass(frozen=True, eq=False)
class Quantity:
    """What is explained of one bundle. `names` are the classes, or the target's column alone."""

    bundle: Bundle
    names: tuple[str, ...]
    unit: str

    @classmethod
    def of(cls, bundle: Bundle) -> Quantity:
        """The quantity of a bundle, by its decoding."""
        classes = bundle.manifest.task.decoding.get("classes")
        if classes:
            return cls(bundle, tuple(str(name) for name in classes), LOG_ODDS)
        return cls(bundle, (bundle.manifest.task.target,), VALUE)

    def number(self, asked: str | None) -> int | None:
        """Which of `names` is asked for. Raises ConfigError where there is none of that name."""
        if asked is None:
            return None if len(self.names) > 1 else 0
        if asked not in self.names:
            known = ", ".join(self.names[:20]) + (" …" if len(self.names) > 20 else "")
            raise ConfigError(f"There is no class `{asked}`.", f"Known: {known}.")
        return self.names.index(asked)

    def answered(self, outputs: np.ndarray) -> np.ndarray:
        """Which of `names` [B] int64 is answered; of several that may be given at once, the most probable."""
        task, spec = self.bundle.task, self.bundle.manifest.task
        if len(self.names) == 1:
            return np.zeros(len(outputs), np.int64)
        found = task.answered(task.scores(outputs, spec.decoding), spec.decoding)
        return np.asarray(self.all(outputs).argmax(axis=1) if found.ndim == 2 else found, np.int64)

    def all(self, outputs: np.ndarray) -> np.ndarray:
        """[B, names] float64 for outputs [B, n] before squashing."""
        task, spec = self.bundle.task, self.bundle.manifest.task
        logits = np.asarray(outputs, np.float64) / float(spec.decoding.get("temperature", 1.0))
        if spec.head == "binary" and spec.width == 1 and len(self.names) == 2:
            return np.concatenate([-logits, logits], axis=1)
        if spec.head == "softmax":
            return _log_odds(logits)
        scores = np.asarray(task.scores(outputs, spec.decoding), np.float64)
        if scores.ndim == 1:
            return scores[:, None]
        scores = np.clip(scores, _LEAST, 1 - _LEAST)
        found: np.ndarray = np.log(scores) - np.log1p(-scores)
        return found

    def one(self, outputs: np.ndarray, number: int) -> np.ndarray:
        """[B] float64: that of the class `number`."""
        found: np.ndarray = self.all(outputs)[:, number]
        return found


def _log_odds(logits: np.ndarray) -> np.ndarray:
    """ln(p / (1 - p)) [B, C] of the softmax of logits [B, C]: each against all others together.

    >>> _log_odds(np.array([[0.0, 0.0, np.log(2.0)]])).round(6).tolist()
    [[-1.098612, -1.098612, 0.0]]
    """
    rows, best = np.arange(len(logits)), logits.argmax(axis=1)
    top = logits[rows, best]
    shares = np.exp(logits - top[:, None])
    with np.errstate(divide="ignore"):
        found: np.ndarray = logits - top[:, None] - np.log(shares.sum(axis=1, keepdims=True) - shares)
    # The best class is set against the second best: what is left of the others beside it may be below rounding.
    others = logits.copy()
    others[rows, best] = -np.inf
    second = others.max(axis=1)
    found[rows, best] = top - second - np.log(np.exp(others - second[:, None]).sum(axis=1))
    return found
