"""What an evaluation says: frozen records that render as plain JSON.

Decided here: a figure that cannot be computed is null beside the reason why, never NaN; floats are
rounded to ten decimals, so that the same rows give the same bytes whatever the number of threads of
a matrix product; a difference is turned so that above zero is better for the model.
This module computes nothing.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

DECIMALS = 10


class Record(BaseModel):
    """Base of all parts of an evaluation: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys sorted: the same evaluation gives the same bytes."""
        return _sorted(self.model_dump(mode="json"))  # type: ignore[no-any-return]


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value


def finite(value: float) -> float | None:
    """The value rounded, or None for NaN and infinity, which JSON does not know.

    >>> finite(0.1 + 0.2), finite(float("nan"))
    (0.3, None)
    """
    return round(float(value), DECIMALS) if math.isfinite(value) else None


class Estimate(Record):
    """A metric's value on the test rows and its bootstrap percentile interval."""

    value: float | None
    low: float | None = None
    high: float | None = None
    higher_is_better: bool
    resamples: int = 0
    """Resamples that the interval stands on; 0 where there is no interval."""
    reason: str | None = None
    """Why value, low or high is missing."""


class McNemar(Record):
    """The exact test of whether two classifiers err equally often on the same rows."""

    only_model: int
    """Rows that the model has right and the other wrong."""
    only_other: int
    """Rows that the other has right and the model wrong."""
    p_value: float


class Comparison(Record):
    """The model beside another on the same rows, by the first metric."""

    other: str
    metric: str
    model: float | None
    value: float | None
    """The other's figure."""
    difference: float | None
    """Model minus other, turned so that above zero is better for the model."""
    low: float | None
    high: float | None
    significant: bool
    """The whole interval lies above zero: the model is better."""
    worse: bool
    """The whole interval lies below zero: the model is worse."""
    mcnemar: McNemar | None = None
    reason: str | None = None


class ClassScores(Record):
    """How one class fares."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    """Test rows of this class."""
    predicted: int
    """Test rows that the model gives this class."""


class Bin(Record):
    """Test rows whose confidence falls into one of the equal bins (low, high]."""

    low: float
    high: float
    num_rows: int
    confidence: float | None
    accuracy: float | None


class Calibration(Record):
    """Whether "80 % sure" is right four times in five."""

    temperature: float | None
    ece_before: float | None
    """Expected calibration error with temperature 1."""
    ece_after: float
    """Expected calibration error of the probabilities that are given out."""
    bins: tuple[Bin, ...]
    """The reliability figure, of the probabilities that are given out."""


class Coverage(Record):
    """How often the truth lies within the interval that the model gives with a number."""

    promised: float | None
    """The level that an answer has where the caller asks for none."""
    mean_width: float
    """Mean of high - low, in units of the target."""


class Confusion(Record):
    """The confusion matrix: only cells that are not zero, so that 500 classes stay small."""

    labels: tuple[str, ...]
    cells: tuple[tuple[int, int, int], ...]
    """(true class, predicted class, rows), classes as positions in `labels`."""


class Evaluation(Record):
    """All that was measured on the test rows."""

    task: str
    num_rows: int
    seed: int
    first_metric: str
    headline: tuple[str, ...]
    """The metrics that the task names, the first decides."""
    level: float
    """Level of the intervals."""
    metrics: dict[str, Estimate]
    others: dict[str, dict[str, Estimate]] = Field(default_factory=dict)
    """The same figures for the baseline and, if there is one, the champion."""
    comparisons: dict[str, Comparison] = Field(default_factory=dict)
    classes: tuple[ClassScores, ...] = ()
    confusion: Confusion | None = None
    calibration: Calibration | None = None
    coverage: Coverage | None = None
    method: str
    """How intervals and tests were made, with sources."""
