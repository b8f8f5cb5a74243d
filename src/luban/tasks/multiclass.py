"""Three classes or more: softmax, calibrated by a temperature; the most probable class is the label.

Decided here: classes stand in order of strings; of equally probable ones the first wins.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from luban.data.schema import Schema
from luban.data.table import Table
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Want
from luban.tasks.base import Decoding, Head, Task, TaskOptions
from luban.tasks.classes import (
    METRICS,
    NOT_FINITE,
    WANT,
    answer_columns,
    class_names,
    class_numbers,
    favoured,
    fit_temperature,
    log_loss,
    offset,
    plain,
    refuse_target,
)


class Multiclass(Task):
    """One of three classes or more."""

    metrics: ClassVar[tuple[str, ...]] = METRICS

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """A target that is one of at least three values."""
        if reason := refuse_target(schema, WANT):
            return reason
        if classes is None or classes < 3:
            found = "values that cannot be counted" if classes is None else str(classes)
            return f"the target must have 3 different values or more, but has {found}"
        return None

    @property
    def target_want(self) -> Want:
        """An index that knows every class, be it in one row."""
        return WANT

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """y [B] int64: class numbers in order of strings."""
        return class_numbers(arrays["value"]), Head("softmax", len(class_names(encoder)))

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """Logarithms of the classes' shares, with half a row added to each so that they are finite."""
        counts = np.bincount(y, minlength=head.width) + 0.5
        shares: np.ndarray = np.log(counts / counts.sum()).astype(np.float32)
        return shares

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """`classes` and `temperature`."""
        temperature = fit_temperature(outputs.astype(np.float64), y)
        return {"classes": class_names(encoder), "temperature": temperature}

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Probabilities [B, classes] float64."""
        logits: np.ndarray = np.ascontiguousarray(outputs, np.float64) / decoding["temperature"]
        with np.errstate(invalid="ignore"):
            logits -= logits.max(axis=1, keepdims=True)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def answered(self, scores: np.ndarray, decoding: Decoding) -> np.ndarray:
        """The most probable class [B], after favour."""
        return np.asarray(offset(scores, decoding).argmax(axis=1))

    def class_numbers(self, y: np.ndarray, head: Head) -> tuple[np.ndarray, int]:
        """y, and the number of classes."""
        return y, head.width

    def favour(self, decoding: Decoding, log_weights: np.ndarray) -> Decoding:
        """Answers by weighed probabilities."""
        return favoured(decoding, log_weights)

    def trivial(self, decoding: Decoding, outputs: np.ndarray) -> Decoding:
        """The most frequent class."""
        return plain(self.uncalibrated(decoding))

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """`label`, `confidence`, `probability_<class>` for every class."""
        classes = decoding["classes"]
        probabilities = self.scores(outputs, decoding)
        best = self.answered(probabilities, decoding)
        confidence = probabilities[np.arange(len(best)), best].tolist()
        columns = {
            "label": [classes[i] for i in best.tolist()],
            "confidence": confidence,
        }
        for name, column in zip(classes, probabilities.T.tolist(), strict=True):
            columns[f"probability_{name}"] = column
        return Table(columns, [None if p == p else NOT_FINITE for p in confidence])

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """Mean log loss of the calibrated probabilities."""
        return log_loss(self.scores(outputs, decoding), y)

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """Columns of `decode` and their JSON types."""
        return answer_columns(decoding)
