"""Calibration: expected calibration error and the reliability figure.

Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", 2017: confidence of
the predicted class, 15 bins of equal width (low, high], the mean over rows of |accuracy - confidence|
of their bin. Of tags each one's own probability takes the place of confidence, and whether the row has it
that of being right. This module fits nothing: the temperature is part of a task's decoding.
"""

from __future__ import annotations

import numpy as np

from luban.evaluate.records import Bin, Calibration, finite
from luban.evaluate.scored import Scored

NUM_BINS = 15


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """The bin int64, 0 to 14, of each confidence, in any shape; a bin holds its upper edge.

    >>> bin_of(np.array([0.0, 1 / 15, 0.5, 1.0])).tolist()
    [0, 0, 7, 14]
    """
    return np.asarray(np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1))


def expected_calibration_error(rows: Scored) -> float:
    """Mean gap between confidence and accuracy, 0 (perfect) to 1."""
    claimed, holds = (array.ravel() for array in rows.claims)
    gaps = np.bincount(bin_of(claimed), holds - claimed, NUM_BINS)
    return float(np.abs(gaps).sum() / len(claimed))


def reliability(rows: Scored) -> tuple[Bin, ...]:
    """Rows (of tags: decisions), mean confidence and accuracy of each bin."""
    claimed, holds = (array.ravel() for array in rows.claims)
    bins = bin_of(claimed)
    counts = np.bincount(bins, minlength=NUM_BINS)
    confidence = np.bincount(bins, claimed, NUM_BINS)
    right = np.bincount(bins, holds, NUM_BINS)
    return tuple(
        Bin(
            low=round(i / NUM_BINS, 6),
            high=round((i + 1) / NUM_BINS, 6),
            num_rows=int(counts[i]),
            confidence=finite(confidence[i] / counts[i]) if counts[i] else None,
            accuracy=finite(right[i] / counts[i]) if counts[i] else None,
        )
        for i in range(NUM_BINS)
    )


def calibration(after: Scored, before: Scored | None, temperature: float | None) -> Calibration:
    """The record for the probabilities given out, and those with temperature 1."""
    return Calibration(
        temperature=temperature,
        ece_before=None if before is None else finite(expected_calibration_error(before)),
        ece_after=round(expected_calibration_error(after), 10),
        bins=reliability(after),
    )
