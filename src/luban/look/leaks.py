"""Columns that tell the target: known only afterwards, more often than not.

A column is a suspect if its values, taken alone, give the target in nearly every row: categories by the most
frequent target of each value (missing is a value), numbers by 20 ranges of ranks. Decided here: only values that come
often enough count, for a value seen once tells every target; a number as a target is told by ranks.
Text is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from luban.data.infer import Conclusion, as_text
from luban.look.finding import Finding

PURE = 0.995
SAME_ORDER = 0.999
ROWS_EACH = 5
BINS = 20
LEAST_ROWS = 50
LEAST_GAIN = 0.02
"""A suspect tells so much more than the most frequent target alone."""


def leaks(values: Mapping[str, Sequence[Any]], conclusions: Sequence[Conclusion], target: str) -> Iterator[Finding]:
    """Suspects among the columns; `values` are aligned rows, None where there is none."""
    truth = [None if value is None else as_text(value) for value in values[target]]
    known = np.array([value is not None for value in truth])
    if known.sum() < LEAST_ROWS:
        return
    _, y = np.unique([value for value in truth if value is not None], return_inverse=True)
    of_classes = y.max(initial=0) + 1 <= max(2, known.sum() // 20)
    for conclusion in conclusions:
        column = conclusion.column
        if column.name == target or column.type in ("text", "time") or column.role == "id":
            continue
        rows = [value for value, there in zip(values[column.name], known, strict=True) if there]
        share = None
        if of_classes:
            share = _purity(_codes(rows, column.type), y)
        elif column.type == "number":
            share = _same_order(rows, [value for value in truth if value is not None])
        if share is not None:
            yield Finding("leak", "warn", column.name, {"share": share, "target": target})


def _codes(rows: Sequence[Any], kind: str) -> np.ndarray:
    """A small number for each value [B]; 0 is missing. Numbers by ranges of ranks."""
    there = np.array([value is not None for value in rows], bool)
    codes = np.zeros(len(rows), np.int64)
    present = [value for value in rows if value is not None]
    if not present:
        return codes
    names, code = np.unique([as_text(value) for value in present], return_inverse=True)
    if kind == "number" and len(names) > BINS and (numbers := _numbers(present)) is not None:
        edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1]))
        code = np.searchsorted(edges, numbers, side="right")
    codes[there] = 1 + code
    return codes


def _purity(codes: np.ndarray, y: np.ndarray) -> float | None:
    """The share of rows that have the most frequent target of their value, if that is nearly all of them."""
    size = int(y.max()) + 1
    table = np.bincount(codes * size + y, minlength=(int(codes.max()) + 1) * size).reshape(-1, size)
    seen = table.sum(axis=1)
    if len(codes) < ROWS_EACH * np.count_nonzero(seen):
        return None
    share = float(table.max(axis=1).sum() / len(y))
    plain = float(np.bincount(y).max() / len(y))
    return share if share >= PURE and share >= plain + LEAST_GAIN else None


def _same_order(rows: Sequence[Any], truth: Sequence[str]) -> float | None:
    """The rank correlation with a number, if it is nearly one."""
    there = [(value, other) for value, other in zip(rows, truth, strict=True) if value is not None]
    left, right = (_numbers([pair[side] for pair in there]) for side in (0, 1))
    if left is None or right is None or len(left) < LEAST_ROWS or len(np.unique(left)) < BINS:
        return None
    ranks = [np.argsort(np.argsort(one, kind="stable"), kind="stable") for one in (left, right)]
    found = abs(float(np.corrcoef(ranks[0], ranks[1])[0, 1]))
    return found if found >= SAME_ORDER else None


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    from luban.catalog import FEATURES
    from luban.errors import BadValue

    feature = FEATURES.make("number")
    found = []
    for value in values:
        try:
            found.append(feature.parse_value(value if isinstance(value, int | float) else as_text(value)))
        except BadValue:
            found.append(None)
    if any(value is None for value in found):
        return None
    return np.array(found, np.float64)
