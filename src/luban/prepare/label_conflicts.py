"""Rows with the same inputs and different labels: nobody can learn from them, and a test with them lies.

Decided here: all of them are set aside, also those that `duplicates` dropped as copies, because which of
two labels is right cannot be known from here. Targets that are no classes (numbers) do not conflict,
they scatter. Rows without any free-form value are left alone where a column is free-form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa

from luban.data.rows import value_keys
from luban.data.schema import Schema
from luban.prepare.base import Candidates, Decision, Fetch, SetStep
from luban.prepare.copies import equal_groups, equal_rows, present_in
from luban.prepare.plan import free_form, has_classes


class LabelConflicts(SetStep):
    """Sets aside rows with equal inputs whose labels differ."""

    sees_copies: ClassVar[bool] = True

    def columns(self, schema: Schema) -> tuple[str, ...]:
        """All inputs, where the target has classes."""
        return tuple(column.name for column in schema.inputs) if has_classes(schema.target) else ()

    def keys(self, batch: pa.RecordBatch) -> np.ndarray:
        """One key a row, over all inputs."""
        return value_keys(batch.columns)[:, None]

    def decide(self, candidates: Iterator[Candidates], fetch: Fetch, schema: Schema) -> Iterator[Decision]:
        """Drop whole groups in which labels differ."""
        target, free = schema.target, free_form(schema)
        assert target is not None, "columns() gives none without a target"
        suspects = (_disagreeing(chunk, fetch, target.name) for chunk in candidates)
        for rows, firsts in equal_groups(suspects, fetch, self.columns(schema)):
            differs = ~equal_rows(rows, firsts, fetch, (target.name,))
            if free and differs.any():
                differs &= present_in(rows, fetch, free)
            starts = np.flatnonzero(rows == firsts)
            group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(rows))))
            other = np.full(len(starts), -1, np.int64)
            odd = np.flatnonzero(differs)[::-1]
            other[group[odd]] = rows[odd]  # the first row of each group whose label is not that of its first row
            conflict = other[group] >= 0
            others = np.where(differs, firsts, other[group])[conflict]
            yield Decision(
                rows[conflict], "drop", "label-conflicts", others, "another row has the same inputs and another label"
            )


def _disagreeing(chunk: Candidates, fetch: Fetch, target: str) -> Candidates:
    """The groups in which not all labels are equal: few, and only their inputs need be compared."""
    sizes = np.diff(chunk.offsets)
    group = np.repeat(np.arange(len(sizes)), sizes)
    differs = ~equal_rows(chunk.rows, chunk.rows[chunk.offsets[:-1]][group], fetch, (target,))
    odd = np.bincount(group[differs], minlength=len(sizes)) > 0
    return Candidates(chunk.rows[odd[group]], np.concatenate([[0], np.cumsum(sizes[odd])]))
