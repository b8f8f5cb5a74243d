"""What training rows were like, column by column: `reports/ranges.json`, by which a server knows a row that is not.

Of numbers and times the smallest and largest; of texts the shortest and longest length; of closed values (classes,
tags) which there were, as short hashes, where there were at most MAX_KNOWN; and whether a value was ever missing.
Taken from the rows that the final model learnt from (train and valid). An extreme can be one person's, so the
file is listed as personal. It is outside of the identity: it decides no answer.

Decided by how a type keeps its values (`storage`, `free_form`), never by its name. Read by `serve/guards/outside.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from luban.bundle.ranges import as_number, value_hash
from luban.catalog import FEATURES
from luban.data.dataset import Dataset

MAX_KNOWN = 10_000
SPLITS = ("train", "valid")


def ranges(dataset: Dataset) -> dict[str, Any]:
    """The file's JSON: {"rows": …, "columns": {name: {"missing": …, …}}}."""
    inputs = dataset.schema.inputs
    gathered = {column.name: _Column(FEATURES.make(column.type, column.settings)) for column in inputs}
    num_rows = 0
    for batch in _batches(dataset, list(gathered)):
        num_rows += batch.num_rows
        for name, column in gathered.items():
            column.add(batch.column(name))
    return {"rows": num_rows, "columns": {name: column.found() for name, column in gathered.items()}}


def _batches(dataset: Dataset, names: list[str]) -> Iterator[pa.RecordBatch]:
    for split in SPLITS:
        yield from dataset.batches(names, split)  # type: ignore[arg-type]


class _Column:
    """What one column's values were so far."""

    def __init__(self, feature: Any) -> None:
        storage = feature.storage
        self._is_list = pa.types.is_list(storage)
        kept = storage.value_type if self._is_list else storage
        self._is_text = pa.types.is_string(kept) and feature.free_form and not self._is_list
        self._is_closed = pa.types.is_string(kept) and not self._is_text
        is_time = pa.types.is_timestamp(kept) or pa.types.is_date(kept)
        self._is_number = not self._is_list and (is_time or pa.types.is_floating(kept) or pa.types.is_integer(kept))
        self._missing = 0
        self._low: Any = None
        self._high: Any = None
        self._known: set[str] | None = set() if self._is_closed else None

    def add(self, values: pa.Array) -> None:
        import pyarrow.compute as pc

        self._missing += values.null_count
        if self._is_text:
            self._extremes(pc.utf8_length(values))
        elif self._is_number:
            self._extremes(
                pc.if_else(pc.is_finite(values), values, None) if pa.types.is_floating(values.type) else values
            )
        elif self._is_closed and self._known is not None:
            single = pc.list_flatten(values) if self._is_list else values
            self._known.update(value_hash(one) for one in pc.unique(single).to_pylist() if one is not None)
            if len(self._known) > MAX_KNOWN:
                self._known = None

    def _extremes(self, values: pa.Array) -> None:
        import pyarrow.compute as pc

        found = pc.min_max(values).as_py()
        if found["min"] is not None:
            self._low = found["min"] if self._low is None else min(self._low, found["min"])
            self._high = found["max"] if self._high is None else max(self._high, found["max"])

    def found(self) -> dict[str, Any]:
        about: dict[str, Any] = {"missing": self._missing > 0}
        if self._low is not None:
            about |= {"length" if self._is_text else "range": [as_number(self._low), as_number(self._high)]}
        if self._known is not None:
            about["known"] = sorted(self._known)
        return about
