"""Targets of rows that come in a file, as the task encodes them, from the bundle alone.

A bundle keeps no encoder of its target, but its decoding names the classes, or the mean and scale. Where a task keeps
neither in this form, or a row has no target that is known, there is no truth: methods that can do without say so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from luban.bundle.bundle import Bundle
from luban.catalog import FEATURES
from luban.errors import BadValue


def truth_of_rows(bundle: Bundle, rows: pa.Table) -> np.ndarray | None:
    """y [B] of the rows of a file, or None where it does not hold them all."""
    target = bundle.schema.target
    spec = bundle.manifest.task
    if target is None or target.name not in rows.schema.names or spec.width != _width(spec.decoding):
        return None
    feature = FEATURES.make(target.type, target.settings)
    try:
        values = [feature.parse_value(value) for value in rows.column(target.name).to_pylist()]
    except BadValue:
        return None
    return _encoded(values, spec.decoding, spec.head)


def _width(decoding: dict[str, Any]) -> int:
    """The width of a head whose classes, or value, are all that there is to it."""
    count = len(decoding.get("classes", ()))
    return 1 if count <= 2 else count


def _encoded(values: list[Any], decoding: dict[str, Any], head: str) -> np.ndarray | None:
    if "classes" in decoding and head in ("binary", "softmax"):
        numbers = {name: number for number, name in enumerate(decoding["classes"])}
        if not all(isinstance(value, str) and value in numbers for value in values):
            return None
        return np.array([numbers[value] for value in values], np.float32 if head == "binary" else np.int64)
    if "scale" in decoding and head == "real":
        if not all(isinstance(value, float) for value in values):
            return None
        scaled = (np.array(values, np.float64) - decoding["mean"]) / (decoding["scale"] or 1.0)
        return np.asarray(scaled, np.float32)
    return None
