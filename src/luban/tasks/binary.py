"""Two classes: one logit, calibrated by a temperature, cut at a threshold.

Decided here: classes stand in order of strings, the second is the positive one, unless another is named;
`confidence` is the probability of the label that is given, also where a threshold other than 0.5 chose it. A model
whose threshold was chosen for F1 or balanced accuracy is judged by that first; with any other threshold than 0.5
by balanced accuracy, for accuracy would hold the threshold against it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import DataError
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Want
from luban.tasks.base import Decoding, Head, Share, Task, TaskOptions
from luban.tasks.classes import (
    METRICS,
    NOT_FINITE,
    WANT,
    answer_columns,
    as_class,
    class_names,
    class_numbers,
    fit_temperature,
    log_loss,
    refuse_target,
    squashed,
)
from luban.tasks.thresholds import DECIMALS, balanced_threshold, f1_threshold

_BALANCED = "balanced_accuracy"


class BinaryOptions(TaskOptions):
    """What may be asked of one prediction of two classes."""

    threshold: float | None = Field(None, ge=0, le=1)
    """Probability of the second class from which it is the label; the model's own if left out."""


class Binary(Task):
    """One of two classes."""

    class Config(Task.Config):
        """Which class is looked for, and from when on it is the label."""

        positive: Annotated[str, BeforeValidator(as_class)] | None = None
        """The class that is looked for: precision, recall, F1 and thresholds are its own, and it stands second. Left
        out: the second in order of strings."""
        threshold: Literal["f1", "balanced"] | Share | None = None
        """f1, balanced: what gives the highest F1 or balanced accuracy on validation rows; or a probability. Left
        out: 0.5, or where `train.imbalance` puts it."""

    config: Config
    metrics: ClassVar[tuple[str, ...]] = METRICS
    Options: ClassVar[type[TaskOptions]] = BinaryOptions

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """A target that is one of exactly two values."""
        if reason := refuse_target(schema, WANT):
            return reason
        return None if classes == 2 else f"the target must have 2 different values, but has {_many(classes)}"

    @property
    def target_want(self) -> Want:
        """An index that knows every class, be it in one row."""
        return WANT

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """y [B] float32 in {0, 1}, 1 for the positive class."""
        second = class_names(encoder).index(self._classes(encoder)[1])
        return (class_numbers(arrays["value"]) == second).astype(np.float32), Head("binary", 1)

    def _classes(self, encoder: Encoder) -> list[str]:
        """Both classes, the positive one last. Raises DataError where there is none of the name that was stated."""
        names, positive = class_names(encoder), self.config.positive
        if positive is None:
            return names
        if positive not in names:
            raise DataError(
                f"`task.positive` must be one of the target's classes, {' or '.join(names)}, but is `{positive}`.",
                "Name one of them.",
            )
        return [*(name for name in names if name != positive), positive]

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """The log-odds of the second class, with half a row added to each so that they are finite."""
        positive = float(y.sum(dtype=np.float64))
        return np.array([np.log((positive + 0.5) / (len(y) - positive + 0.5))], np.float32)

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """`classes`, `temperature` and `threshold`; `aim`, the metric that it was chosen for, if not accuracy."""
        logits = np.stack([np.zeros(len(y)), outputs[:, 0].astype(np.float64)], axis=1)
        temperature = fit_temperature(logits, (y > 0.5).astype(np.int64))
        found: Decoding = {"classes": self._classes(encoder), "temperature": temperature, "threshold": 0.5}
        stated = self.config.threshold
        if stated == "f1":
            return {**found, "threshold": f1_threshold(_positive(outputs, found), y > 0.5), "aim": "f1"}
        if stated == "balanced":
            return {**found, "threshold": balanced_threshold(_positive(outputs, found), y > 0.5), "aim": _BALANCED}
        return found if stated in (None, 0.5) else {**found, "threshold": stated, "aim": _BALANCED}

    def favour(self, decoding: Decoding, log_weights: np.ndarray) -> Decoding:
        """The threshold moved, unless one was stated."""
        if self.config.threshold is not None:
            return decoding
        threshold = round(float(squashed(log_weights[0] - log_weights[1])), DECIMALS)
        return {**decoding, "threshold": threshold, "aim": _BALANCED}

    def class_numbers(self, y: np.ndarray, head: Head) -> tuple[np.ndarray, int]:
        """y as integers, and 2."""
        return (y > 0.5).astype(np.int64), 2

    def trivial(self, decoding: Decoding, outputs: np.ndarray) -> Decoding:
        """The more frequent class; where F1 is aimed at the second, which alone has any."""
        return {**self.uncalibrated(decoding), "threshold": 0.0 if decoding.get("aim") == "f1" else 0.5}

    def answered(self, scores: np.ndarray, decoding: Decoding) -> np.ndarray:
        """The second class from the threshold on."""
        return np.asarray(scores[:, 1] >= decoding["threshold"], np.int64)

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Probabilities [B, 2] float64."""
        second = _positive(outputs, decoding)
        return np.stack([1 - second, second], axis=1)

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """`label`, `confidence`, `probability_<class>` for both classes."""
        assert isinstance(options, BinaryOptions)
        threshold = decoding["threshold"] if options.threshold is None else options.threshold
        first_name, second_name = decoding["classes"]
        seconds = _positive(outputs, decoding).tolist()
        labels = [second_name if p >= threshold else first_name for p in seconds]
        columns = {
            "label": labels,
            "confidence": [p if p >= threshold else 1 - p for p in seconds],
            f"probability_{first_name}": [1 - p for p in seconds],
            f"probability_{second_name}": seconds,
        }
        return Table(columns, [None if p == p else NOT_FINITE for p in seconds])

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """Mean log loss of the calibrated probabilities."""
        return log_loss(self.scores(outputs, decoding), y)

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """Columns of `decode` and their JSON types."""
        return answer_columns(decoding)


def _positive(outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Probability [B] float64 of the second class; NaN where the output is."""
    return squashed(outputs[:, 0].astype(np.float64) / decoding["temperature"])


def _many(classes: int | None) -> str:
    return "values that cannot be counted" if classes is None else str(classes)
