"""A number, with an interval that holds it as often as was asked.

Families see the target with zero mean and unit variance (its column's encoder does that), `decode`
gives it back in its own unit. `low` and `high` are split-conformal: the half-width for a level is the
ceil((n + 1) * level)-th smallest absolute residual of n validation rows, so that a new row like these is
inside at least that often (Vovk, Gammerman & Shafer 2005; Lei et al., "Distribution-Free Predictive
Inference for Regression", 2018). Decided here: with too few rows for a level there is no finite
half-width, and `low` and `high` are then null instead of a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import DataError
from luban.features.base import Encoder
from luban.features.kinds import Arrays, VectorConfig, Want
from luban.tasks.base import Decoding, Head, Judgement, Task, TaskOptions, Tolerance
from luban.tasks.classes import NOT_FINITE, refuse_target

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
WANT = Want("vector", VectorConfig(scale="standard", missing="nan"))


class RegressionOptions(TaskOptions):
    """What may be asked of one predicted number."""

    level: float = Field(0.9, json_schema_extra={"enum": list(LEVELS)})
    """How often the true value lies between `low` and `high`: 0.5, 0.8, 0.9, 0.95 or 0.99."""

    @field_validator("level")
    @classmethod
    def _known(cls, level: float) -> float:
        if level not in LEVELS:
            raise ValueError(f"must be one of {', '.join(map(str, LEVELS))}, but got {level}")
        return level


class Regression(Task):
    """A number with an interval."""

    metrics: ClassVar[tuple[str, ...]] = ("rmse", "mse", "mae", "r2")
    Options: ClassVar[type[TaskOptions]] = RegressionOptions

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """A target that gives one number a row, and not always the same."""
        if reason := refuse_target(schema, WANT):
            return reason
        return "the target is the same in every row" if classes == 1 else None

    @property
    def target_want(self) -> Want:
        """One standardised number, NaN where missing."""
        return WANT

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """y [B] float32, standardised by the training rows' mean and scale."""
        value = arrays["value"]
        if value.shape[1] != 1:
            raise DataError(f"The target of a regression must be one number a row, but is {value.shape[1]}.")
        y = value[:, 0].astype(np.float32)
        missing = int(np.isnan(y).sum())
        if missing:
            raise DataError(f"Every row must have a target, but {missing} rows have none.", "Remove these rows.")
        return y, Head("real", 1)

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """The mean."""
        return np.array([y.mean(dtype=np.float64)], np.float32)

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """`mean` and `scale` of the target, and `half_widths` by level (null: too few rows)."""
        state = encoder.state().json
        mean, scale = float(state["mean"]), float(state["scale"])
        residuals = np.sort(np.abs(outputs[:, 0].astype(np.float64) - y)) * scale
        return {"mean": mean, "scale": scale, "half_widths": {str(a): half_width(residuals, a) for a in LEVELS}}

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Values [B] float64 in the target's own unit."""
        values: np.ndarray = outputs[:, 0].astype(np.float64) * decoding["scale"] + decoding["mean"]
        return values

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """`value`, `low` and `high` in the target's own unit."""
        assert isinstance(options, RegressionOptions)
        half = decoding["half_widths"][str(options.level)]
        values = self.scores(outputs, decoding).tolist()
        columns = {
            "value": values,
            "low": [None if half is None else v - half for v in values],
            "high": [None if half is None else v + half for v in values],
        }
        return Table(columns, [None if math.isfinite(v) else NOT_FINITE for v in values])

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """Mean squared error of the standardised target."""
        return float(np.mean((outputs[:, 0].astype(np.float64) - y) ** 2)) if len(y) else 0.0

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """Columns of `decode` and their JSON types."""
        return {"value": "number", "low": "number", "high": "number"}

    def unsure(self, decoding: Decoding, tolerance: Tolerance) -> str | None:
        """A number is never wholly right: its tolerance must be said, and there must have been rows to measure."""
        if not tolerance:
            return "a number is right only within a tolerance: say `within`, or `within_share`"
        return None if _measured(decoding) else "there were too few validation rows to say how far it may be off"

    def confidence(self, answer: Mapping[str, Any], decoding: Decoding, tolerance: Tolerance) -> float | None:
        """How probable it is that the truth lies within the tolerance.

        Read off the half-widths that were measured for some levels, on straight lines between them; at most
        the highest of these levels, of which alone it is known that it is reached.
        """
        value = answer.get("value")
        widths = _measured(decoding)
        if not tolerance or not widths or not isinstance(value, float) or not math.isfinite(value):
            return None
        half = tolerance.around(value)
        for (level, width), (higher, wider) in pairwise([(0.0, 0.0), *widths]):
            if half < wider:
                return level + (higher - level) * (half - width) / (wider - width)
        return widths[-1][0]

    def judge(self, answer: Mapping[str, Any], truth: Any, tolerance: Tolerance) -> Judgement:
        """How far off, and whether within the tolerance; where none is said, within `low` and `high`."""
        value, low, high = (answer.get(name) for name in ("value", "low", "high"))
        if not isinstance(value, float) or not isinstance(truth, float):
            return Judgement(None, None)
        error = abs(value - truth)
        if tolerance:
            return Judgement(error <= tolerance.around(value), error)
        if not isinstance(low, float) or not isinstance(high, float):
            return Judgement(None, error)
        return Judgement(low <= truth <= high, error)


def _measured(decoding: Decoding) -> list[tuple[float, float]]:
    """Levels with their half-widths, both ascending, where there is one."""
    widths = {float(level): width for level, width in decoding["half_widths"].items() if width is not None}
    return sorted(widths.items())


def half_width(residuals: np.ndarray, level: float) -> float | None:
    """Split-conformal half-width for ascending absolute residuals [n]; None if n is too small.

    >>> half_width(np.arange(1.0, 10.0), 0.9)
    9.0
    """
    rank = math.ceil(round((len(residuals) + 1) * level, 9))
    return float(residuals[rank - 1]) if rank <= len(residuals) else None
