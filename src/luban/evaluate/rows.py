"""The rows that a model is measured on, as a deeper look reads them: by column, by position, in a sample.

Rows of a dataset and rows of a file that has just been read look alike here. Decided here: columns are read one
at a time, so that a million rows need no room for all; a sample is drawn by row id, so that other
rows do not matter; rows hang together by the subject column if there is one, else by the group column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from luban.data.dataset import ROW_ID, Dataset, Split
from luban.data.schema import Schema
from luban.data.splits import uniform

Batches = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]
"""Batches of the named columns, in order; called as often as is needed."""


@dataclass(frozen=True)
class Rows:
    """Parsed rows. `batches` also gives the column `_row_id`."""

    schema: Schema
    batches: Batches

    @classmethod
    def of(cls, dataset: Dataset, *splits: Split) -> Rows:
        """The rows of a split, or of some, one after another."""
        return cls(dataset.schema, lambda names: chain.from_iterable(dataset.batches(names, one) for one in splits))

    def read(self, column: str) -> Iterator[pa.Array]:
        """A column's values, in row order."""
        return (batch.column(0) for batch in self.batches([column]))

    def fetch(self, positions: np.ndarray) -> list[dict[str, Any]]:
        """Input values and `_row_id` of the rows at positions [n], ascending and distinct."""
        names = [*(column.name for column in self.schema.inputs), ROW_ID]
        found: list[dict[str, Any]] = []
        start = 0
        for batch in self.batches(names) if len(positions) else ():
            low, high = np.searchsorted(positions, [start, start + batch.num_rows])
            if low < high:
                found += batch.take(pa.array(positions[low:high] - start)).to_pylist()
            start += batch.num_rows
        return found

    def sample(self, count: int, seed: int, among: np.ndarray | None = None) -> np.ndarray:
        """Positions [n], ascending, of at most `count` rows, drawn by row id; of `among` [m] positions in `among`."""
        pieces = []
        for ids in self.read(ROW_ID):
            names = np.array([int(row_id[:16], 16) for row_id in ids.to_pylist()], np.uint64)
            pieces.append(uniform(names, seed))
        chance = np.concatenate(pieces) if pieces else np.zeros(0)
        chance = chance if among is None else chance[among]
        if len(chance) <= count:
            return np.arange(len(chance))
        return np.sort(np.argpartition(chance, count)[:count])

    def clusters(self) -> np.ndarray | None:
        """Numbers [B] int64 from 0 of who each row is about or belongs to; None where no column says.

        A row without one stands alone.
        """
        columns = self.schema.of_role("subject") or self.schema.of_role("group")
        if not columns:
            return None
        codes: dict[Any, int] = {}
        found: list[int] = []
        for values in self.read(columns[0].name):
            # what is missing is known by its position, so that it is like nobody else
            start = len(found)
            for at, value in enumerate(values.to_pylist(), start):
                found.append(codes.setdefault(("alone", at) if value is None else value, len(codes)))
        return np.array(found, np.int64)
