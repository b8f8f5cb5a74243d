"""One column of numbers brought to a model's scale, in float64, before the cast to float32.

    none      as they are, less `offset` where float32 could not tell them apart (identifiers, epochs)
    standard  (x - mean) / scale; 0 where all training values are equal
    quantile  rank among training values, mapped to [-1, 1], ties in the middle of their ranks

Decided here: nothing becomes infinite in float32, values are clipped to what it holds. This module does
not know what the numbers mean, nor what missing is: NaN goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

Scale = Literal["none", "standard", "quantile"]
LARGEST = float(np.finfo(np.float32).max)
_POINTS = 1001
_EXACT = 2.0**24


@dataclass(frozen=True)
class Scaling:
    """How one column is scaled. `grid` [Q] float64 holds training quantiles for scale "quantile".

    >>> Scaling.fit(np.array([1.0, 3.0]), "standard").apply(np.array([1.0, np.nan])).tolist()
    [-1.0, nan]
    """

    kind: Scale
    mean: float
    scale: float
    offset: float
    grid: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, kind: Scale) -> Scaling:
        """From training values [B] float64; NaN are left out, none at all is fine."""
        known = values[~np.isnan(values)]
        mean, scale = _moments(known)
        grid = np.zeros(0)
        if kind == "quantile" and len(known):
            grid = np.quantile(known, np.linspace(0, 1, min(_POINTS, len(known))), method="lower")
        offset = float(np.median(known)) if len(known) and np.abs(known).max() >= _EXACT else 0.0
        return cls(kind, mean, scale, offset if kind == "none" else 0.0, grid)

    @classmethod
    def restore(cls, state: dict[str, Any], grid: np.ndarray) -> Scaling:
        """From `state()` and `grid`."""
        return cls(state["kind"], state["mean"], state["scale"], state["offset"], grid)

    def state(self) -> dict[str, Any]:
        """JSON without the grid."""
        return {"kind": self.kind, "mean": self.mean, "scale": self.scale, "offset": self.offset}

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scaled values [B] float64 that float32 can hold; NaN where NaN."""
        if self.kind == "none":
            scaled = values - self.offset
        elif self.kind == "standard":
            scaled = _standard(values, self.mean, self.scale)
        else:
            scaled = self._ranks(values)
        clipped: np.ndarray = np.clip(scaled, -LARGEST, LARGEST)
        return clipped

    def one(self, value: float) -> float:
        """`apply` for one value that is not NaN: the same bits at a tenth of the cost."""
        if self.kind == "none":
            scaled = value - self.offset
        elif self.kind == "standard":
            scaled = (value - self.mean) / self.scale if self.scale else 0.0
        else:
            scaled = self._rank(value)
        return min(max(scaled, -LARGEST), LARGEST)

    @cached_property
    def _steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranks of the grid's points, and the grid turned round."""
        return np.linspace(-1, 1, len(self.grid)), -self.grid[::-1]

    def _rank(self, value: float) -> float:
        if len(self.grid) < 2 or not self.grid[0] < self.grid[-1]:
            return 0.0
        steps, turned = self._steps
        return float((np.interp(value, self.grid, steps) + -np.interp(-value, turned, steps)) / 2)

    @property
    def is_line(self) -> bool:
        """Whether it is a subtraction and a division, and no more."""
        return self.kind == "none" or (self.kind == "standard" and self.scale != 0.0)

    @property
    def average(self) -> float:
        """Where a missing value goes: the training mean, on this scale."""
        return min(max(self.mean - self.offset, -LARGEST), LARGEST) if self.kind == "none" else 0.0

    def _ranks(self, values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values)
        out = np.where(known, 0.0, values)
        if len(self.grid) > 1 and self.grid[0] < self.grid[-1]:
            steps, turned = self._steps
            x = values[known]
            left = np.interp(x, self.grid, steps)
            right = -np.interp(-x, turned, steps)
            out[known] = (left + right) / 2
        return out


@dataclass(frozen=True)
class Lines:
    """Several scalings that are lines, applied to a matrix [K, B], a row each: the same bits, at the cost of one.

    `low`, `scale` and `average` are [K, 1] float64.
    """

    low: np.ndarray
    scale: np.ndarray
    average: np.ndarray

    @classmethod
    def of(cls, scalings: Sequence[Scaling]) -> Lines:
        """Those of scalings with `is_line`."""
        return cls(
            np.array([[one.offset if one.kind == "none" else one.mean] for one in scalings]),
            np.array([[1.0 if one.kind == "none" else one.scale] for one in scalings]),
            np.array([[one.average] for one in scalings]),
        )

    def apply(self, values_kb: np.ndarray) -> np.ndarray:
        """As `Scaling.apply`."""
        with np.errstate(over="ignore"):
            scaled_kb = (values_kb - self.low) / self.scale
        clipped: np.ndarray = np.clip(scaled_kb, -LARGEST, LARGEST, out=scaled_kb)
        return clipped


def _moments(known: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, also of values near the largest float64; (0, 0) of none."""
    if not len(known):
        return 0.0, 0.0
    if known.min() == known.max():
        return float(known[0]), 0.0
    size = float(np.abs(known).max())
    share = known / size
    return float(share.mean()) * size, float(share.std()) * size


def _standard(values: np.ndarray, mean: float, scale: float) -> np.ndarray:
    if scale == 0.0:
        return np.where(np.isnan(values), np.nan, 0.0)
    with np.errstate(over="ignore"):
        scaled: np.ndarray = (values - mean) / scale
    return scaled
