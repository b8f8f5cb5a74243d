"""What the values of a column look like, gathered batch by batch in bounded memory.

Decided here: counts, extremes and means are exact; distinct values are counted up to 1,000; quantiles come
from a sample of 10,000 rows that are chosen by hash, so that they depend on neither batches nor order.
Goes by Arrow types; knows no column type.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SAMPLE_ROWS, MAX_DISTINCT, NUM_TOP = 10_000, 1_000, 10
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def is_binary(kind: pa.DataType) -> bool:
    """Whether values are bytes.

    >>> is_binary(pa.large_binary()), is_binary(pa.string())
    (True, False)
    """
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


class ColumnProfile:
    """Figures of one column.

    >>> profile = ColumnProfile()
    >>> profile.update(pa.array([1.0, None, 3.0]), np.array([1, 2, 3], np.uint64))
    >>> profile.as_json()["mean"], profile.as_json()["missing"]
    (2.0, 1)
    """

    def __init__(self) -> None:
        self.rows = self.missing = 0
        self._counts: Counter[Any] | None = Counter()
        self._sum = self._squares = 0.0
        self._present = 0
        self._min: Any = None
        self._max: Any = None
        self._sample = np.zeros(0)
        self._sample_keys = np.zeros(0, np.uint64)
        self._what = ""

    def update(self, column: pa.Array, keys: np.ndarray) -> None:
        """Take the next values; `keys` [B] uint64 decide which rows are in the sample."""
        self.rows += len(column)
        self.missing += column.null_count
        if column.null_count == len(column):
            return
        kind = column.type
        if is_binary(kind):
            self._counts = None  # files are long, and seldom twice the same
            self._what = "bytes"
            self._figures(pc.binary_length(column), keys)
            return
        self._count(column)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            self._what = "length"
            self._figures(pc.utf8_length(column), keys)
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
            self._what = "value"
            self._figures(column, keys)
        elif pa.types.is_temporal(kind):
            self._extremes(column)

    def _count(self, column: pa.Array) -> None:
        if pa.types.is_list(column.type):
            column = column.flatten()  # what a list holds is counted, not the list
        if self._counts is None or pa.types.is_nested(column.type):
            self._counts = None
            return
        counts = pc.value_counts(column.drop_null())
        if len(counts) > MAX_DISTINCT:
            self._counts = None
            return
        for entry in counts.to_pylist():
            self._counts[entry["values"]] += entry["counts"]
        if len(self._counts) > MAX_DISTINCT:
            self._counts = None

    def _extremes(self, column: pa.Array) -> None:
        low, high = pc.min_max(column).as_py().values()
        self._min = low if self._min is None else min(self._min, low)
        self._max = high if self._max is None else max(self._max, high)

    def _figures(self, column: pa.Array, keys: np.ndarray) -> None:
        self._extremes(column)
        there = column.is_valid().to_numpy(zero_copy_only=False)
        values = column.drop_null().cast(pa.float64()).to_numpy()
        self._present += len(values)
        self._sum += float(values.sum())
        self._squares += float(np.square(values).sum())
        keys = keys[there]
        if len(self._sample) == SAMPLE_ROWS:
            near = keys <= self._sample_keys.max()
            values, keys = values[near], keys[near]
        values, keys = np.append(self._sample, values), np.append(self._sample_keys, keys)
        if len(keys) > SAMPLE_ROWS:
            chosen = np.argpartition(keys, SAMPLE_ROWS)[:SAMPLE_ROWS]
            values, keys = values[chosen], keys[chosen]
        self._sample, self._sample_keys = values, keys

    @property
    def distinct(self) -> int | None:
        """Distinct values without missing ones; None if there are more than 1,000."""
        return None if self._counts is None else len(self._counts)

    def as_json(self) -> dict[str, Any]:
        """All figures."""
        found: dict[str, Any] = {"rows": self.rows, "missing": self.missing, "distinct": self.distinct}
        if self._counts:
            ordered = sorted(self._counts.items(), key=lambda item: (-item[1], str(item[0])))
            found["top"] = [[str(value), count] for value, count in ordered[:NUM_TOP]]
        if self._min is not None:
            prefix = f"{self._what}_" if self._what in ("length", "bytes") else ""
            found[f"{prefix}min"], found[f"{prefix}max"] = _plain(self._min), _plain(self._max)
            if self._present:
                found[f"{prefix}mean"] = mean = self._sum / self._present
                variance = max(self._squares / self._present - mean**2, 0.0)
                found[f"{prefix}deviation"] = variance**0.5
                points = np.quantile(self._sample, _QUANTILES).tolist()
                found[f"{prefix}quantiles"] = dict(zip(map(str, _QUANTILES), points, strict=True))
        return found


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else value.isoformat()
