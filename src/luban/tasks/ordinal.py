"""Classes that have an order (bad, fair, good): one logit for each step of it.

K - 1 logits say how likely the class is beyond the first, the second, … (Frank and Hall, "A Simple Approach to
Ordinal Classification", 2001). Decided here:

- the order is stated, or is that of numbers; that of words is never guessed, nor is this task ever chosen
  where nobody asked for it;
- the K - 1 models may contradict each other, so their probabilities are made to fall: the mean of the
  least so far and the greatest still to come, which for a falling sequence is the sequence;
- the label is the median, the first class by which half of the probability is reached: it errs by the fewest
  ranks, while the most probable class may lie at the far end of a split opinion;
- `expected` is the mean rank, 1 for the first class.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator

from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import DataError
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Want
from luban.tasks.base import Decoding, Head, Task, TaskOptions
from luban.tasks.classes import (
    METRICS,
    NOT_FINITE,
    WANT,
    as_class,
    class_names,
    class_numbers,
    decision_temperature,
    favoured,
    log_loss,
    log_odds,
    offset,
    plain,
    refuse_target,
    squashed,
)

_LEADING = ("quadratic_kappa", "rank_mae", "accuracy")


class Ordinal(Task):
    """One of three ordered classes or more."""

    class Config(Task.Config):
        """The order."""

        order: tuple[str, ...] = ()
        """All classes, the lowest first. May be left out where classes are numbers."""

        @field_validator("order", mode="before")
        @classmethod
        def _as_text(cls, value: Any) -> Any:
            """Classes as the target's column keeps them: 1 and 1.0 are "1"."""
            return tuple(as_class(item) for item in value) if isinstance(value, (list, tuple)) else value

        @field_validator("order")
        @classmethod
        def _each_once(cls, order: tuple[str, ...]) -> tuple[str, ...]:
            twice = sorted({name for name in order if order.count(name) > 1})
            if twice:
                raise ValueError(f"must name every class once, but names {', '.join(twice)} more than once")
            if 0 < len(order) < 3:
                raise ValueError("must name three classes or more; for two use the task `binary`")
            return order

    config: Config
    metrics: ClassVar[tuple[str, ...]] = (*_LEADING, *(name for name in METRICS if name not in _LEADING))
    ordered: ClassVar[bool] = True
    automatic: ClassVar[bool] = False

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """A target that is one of at least three values, of which `order` names all."""
        if reason := refuse_target(schema, WANT):
            name = schema.target.name if schema.target is not None else "…"
            return f"{reason}; say `data: {{columns: {{{name}: category}}}}`" if schema.target else reason
        named = len(self.config.order)
        if classes is None or max(classes, named) < 3:
            return f"the target must have 3 different values or more, but has {'no' if classes is None else classes}"
        if named and named < classes:
            return f"`task.order` must name every class, but names {named}, and the target has {classes}"
        return None

    @property
    def target_want(self) -> Want:
        """An index that knows every class, be it in one row."""
        return WANT

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """y [B, K - 1] float32 in {0, 1}: whether the class is beyond the first, the second, …"""
        names = class_names(encoder)
        order = self._order(names)
        ranks = np.array([order.index(name) for name in names], np.int64)[class_numbers(arrays["value"])]
        y_bk = (ranks[:, None] > np.arange(len(order) - 1)).astype(np.float32)
        return y_bk, Head("binary", len(order) - 1)

    def _order(self, names: list[str]) -> list[str]:
        """All classes, the lowest first. Raises DataError where the order misses one, or cannot be known."""
        if self.config.order:
            missing = [name for name in names if name not in self.config.order]
            if missing:
                raise DataError(
                    f"`task.order` must name every class, but misses {', '.join(f'`{name}`' for name in missing)}.",
                    "Add it where it belongs, or mend the values.",
                )
            return list(self.config.order)
        try:
            return sorted(names, key=float)
        except ValueError:
            raise DataError(
                f"The order of words is not guessed, and the classes are {', '.join(names[:10])}.",
                "State it, the lowest first: `task: {kind: ordinal, order: [bad, fair, good]}`.",
            ) from None

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """The log-odds of each step, with half a row added to both sides so that they are finite."""
        return log_odds(y)

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """`classes`, the lowest first, and `temperature`."""
        temperature = decision_temperature(np.asarray(outputs, np.float64), y)
        return {"classes": self._order(class_names(encoder)), "temperature": temperature}

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Probabilities [B, K] float64, the lowest class first."""
        beyond = squashed(np.asarray(outputs, np.float64) / decoding["temperature"])
        falling = np.minimum.accumulate(beyond, axis=1)
        still = np.maximum.accumulate(beyond[:, ::-1], axis=1)[:, ::-1]
        ones = np.ones((len(beyond), 1))
        steps = np.concatenate([ones, (falling + still) / 2, np.zeros_like(ones)], axis=1)
        return np.asarray(steps[:, :-1] - steps[:, 1:])

    def answered(self, scores: np.ndarray, decoding: Decoding) -> np.ndarray:
        """The median [B] int64."""
        reached = np.cumsum(offset(scores, decoding), axis=1)
        return np.asarray((reached >= reached[:, -1:] / 2 - 1e-12).argmax(axis=1))

    def truth(self, y: np.ndarray) -> np.ndarray:
        """Ranks [B] int64 from 0: how many steps a class is beyond."""
        return np.asarray(y.sum(axis=1), np.int64)

    def class_numbers(self, y: np.ndarray, head: Head) -> tuple[np.ndarray, int]:
        """Ranks, and how many there are."""
        return self.truth(y), head.width + 1

    def favour(self, decoding: Decoding, log_weights: np.ndarray) -> Decoding:
        """The median of weighed probabilities."""
        return favoured(decoding, log_weights)

    def trivial(self, decoding: Decoding, outputs: np.ndarray) -> Decoding:
        """The median of the frequencies."""
        return plain(self.uncalibrated(decoding))

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """`label`, `confidence`, `expected` (the mean rank, from 1), `probability_<class>` in their order."""
        classes, scores = decoding["classes"], self.scores(outputs, decoding)
        chosen = self.answered(scores, decoding)
        confidence = scores[np.arange(len(scores)), chosen].tolist()
        columns: dict[str, list[Any]] = {
            "label": [classes[i] for i in chosen.tolist()],
            "confidence": confidence,
            # running sums are the same bits for a row alone and among others, a matrix product's are not
            "expected": np.cumsum(scores * np.arange(1.0, len(classes) + 1), axis=1)[:, -1].tolist(),
        }
        for name, column in zip(classes, scores.T.tolist(), strict=True):
            columns[f"probability_{name}"] = column
        return Table(columns, [None if p == p else NOT_FINITE for p in confidence])

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """Mean log loss of the classes' probabilities."""
        return log_loss(self.scores(outputs, decoding), self.truth(y))

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """Columns of `decode` and their JSON types."""
        probabilities = {f"probability_{name}": "number" for name in decoding["classes"]}
        return {"label": "string", "confidence": "number", "expected": "number", **probabilities}
