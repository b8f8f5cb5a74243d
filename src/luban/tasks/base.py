"""What a task is: an objective, from a target column to a head and from a head to an answer.

A task reduces its target to one head of a closed set, names its metrics, gives the constant that is
its trivial baseline, fits its decoding on validation rows, and decodes. It knows no column type but
by the kind of array its target comes in, and no model family. Heads are outputs before any squashing:

    binary  [B, n] logits (two classes: n = 1)     softmax [B, n] logits     real [B, n]
    quantile [B, H, Q]   candidates ids, scores [B, k]   vector [B, D]   score [B] or [B, T]   next
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from luban.catalog import Component, Config
from luban.data.schema import Schema
from luban.data.table import Table
from luban.features.base import Encoder
from luban.features.kinds import Arrays, Want

HeadKind = Literal["binary", "softmax", "real", "quantile", "candidates", "vector", "boxes", "score", "next"]


@dataclass(frozen=True)
class Head:
    """What a model puts out: a kind and its width n."""

    kind: HeadKind
    width: int


Share = Annotated[float, Field(ge=0, le=1)]
"""A probability, 0 to 1."""
Decoding = dict[str, Any]
"""JSON that turns a head's outputs into answers: classes, temperature, conformal half-widths …"""


@dataclass(frozen=True)
class Tolerance:
    """How far from the truth a number may be and still count as right: `absolute`, in the target's unit, or `share` of
    the number that was answered, whichever is more."""

    absolute: float = 0.0
    share: float = 0.0

    def __bool__(self) -> bool:
        return self.absolute > 0 or self.share > 0

    def around(self, value: float) -> float:
        """The tolerance around a number, in its unit."""
        return max(self.absolute, self.share * abs(value))


@dataclass(frozen=True)
class Judgement:
    """What a truth says of an answer. `error` is 0 or 1 for classes, a distance in the target's unit for numbers.

    None: it cannot be said.
    """

    correct: bool | None
    error: float | None


class TaskOptions(Config):
    """What a caller may ask of one prediction; each task has its own."""


class Task(Component):
    """An objective. Stateless; what it learns is its `Decoding`, which is plain JSON.

    `metrics` are names that `evaluate` resolves, the first decides which model is better.
    `Options` is the request model, shown in OpenAPI. `ordered` says that class numbers are ranks,
    `automatic` that `task: auto` may choose it.
    """

    metrics: ClassVar[tuple[str, ...]]
    ordered: ClassVar[bool] = False
    automatic: ClassVar[bool] = True
    Options: ClassVar[type[TaskOptions]] = TaskOptions

    @abstractmethod
    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """None if a schema's target suits this task, or why not.

        `classes` is the number of distinct target values, None where they are not countable.
        """

    @property
    @abstractmethod
    def target_want(self) -> Want:
        """How the target is to be encoded by its column's type."""

    @abstractmethod
    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """The encoded target (parts by short name) as y, and the head that fits it.

        y is [B] float32 in {0, 1} for binary of width 1, [B, n] for more, [B] int64 class numbers for softmax,
        [B] float32 for real.
        Raises DataError where a target is missing or unknown.
        """

    @abstractmethod
    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """The constant outputs [n] float32 of the best model that looks at no input."""

    @abstractmethod
    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """The decoding fitted on validation rows: outputs [B, n] before squashing, y as in `target`."""

    @abstractmethod
    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """Answers for outputs [B, n], one row each, documented columns in a fixed order."""

    @abstractmethod
    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """What candidates are compared by on validation rows, lower is better: mean log loss, or
        mean squared error of the standardised target."""

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """The columns that `decode` gives: name to JSON type ("string", "number"), in order."""
        raise NotImplementedError

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """What metrics are computed on: probabilities [B, classes or tags], or values [B]."""
        raise NotImplementedError

    def answered(self, scores: np.ndarray, decoding: Decoding) -> np.ndarray:
        """What is answered for probabilities: class numbers [B] int64, or, where a row may have several, bool [B, n].

        Here the most probable class, ties to the lower number.
        """
        return np.asarray(scores.argmax(axis=1))

    def truth(self, y: np.ndarray) -> np.ndarray:
        """y, where it stands for classes or tags, as metrics have it: class numbers [B], or tags [B, n], int64."""
        return y.astype(np.int64)

    def class_numbers(self, y: np.ndarray, head: Head) -> tuple[np.ndarray, int] | None:
        """Class numbers [B] int64 of y and how many classes there are; None where a row has not just one class."""
        return None

    def favour(self, decoding: Decoding, log_weights: np.ndarray) -> Decoding:
        """The decoding that answers as if each class's probability were multiplied by exp(log_weights [C]).

        Probabilities stay as they are. A threshold that was stated stays too. Only asked of tasks with
        `class_numbers`.
        """
        raise NotImplementedError

    def aims(self, decoding: Decoding) -> tuple[str, ...]:
        """`metrics`, first the one that the decoding was made for, where it names one as its `aim`."""
        first = decoding.get("aim")
        return self.metrics if first is None else (first, *(name for name in self.metrics if name != first))

    def uncalibrated(self, decoding: Decoding) -> Decoding:
        """The decoding without what was fitted to probabilities: how they were before calibration."""
        return {**decoding, "temperature": 1.0} if "temperature" in decoding else decoding

    def unsure(self, decoding: Decoding, tolerance: Tolerance) -> str | None:
        """None if `confidence` can say how sure an answer is, or the reason why not."""
        return None if "confidence" in self.columns(decoding) else "answers of this task have no probability"

    def confidence(self, answer: Mapping[str, Any], decoding: Decoding, tolerance: Tolerance) -> float | None:
        """How probable it is, 0 to 1, that a decoded answer is right; None where `unsure`, or without an answer.

        Here the calibrated probability of what was answered.
        """
        found = answer.get("confidence")
        return found if isinstance(found, float) and math.isfinite(found) else None

    def judge(self, answer: Mapping[str, Any], truth: Any, tolerance: Tolerance) -> Judgement:
        """What the truth, as the target's column type parses it, says of a decoded answer. Here: is it that class?"""
        if "label" not in answer:
            return Judgement(None, None)
        correct = bool(answer["label"] == truth)
        return Judgement(correct, float(not correct))

    def trivial(self, decoding: Decoding, outputs: np.ndarray) -> Decoding:
        """How the baseline's outputs [B, n] are decoded: uncalibrated, and answered as is best for a constant."""
        return self.uncalibrated(decoding)
