"""Rows with exactly the same inputs, after cleaning and parsing.

Decided here: where a column is free-form (a review, not a shoe size), equal rows are copies and only the
first is kept; rows without any free-form value are left alone. Elsewhere equal rows are coincidence that
may still leak: they stay, in one split, unless so many rows are equal that splits by group would be too
lumpy; those are flagged and left apart. The target does not count: see `label-conflicts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban.data.rows import value_keys
from luban.data.schema import Schema
from luban.prepare.base import Candidates, Decision, Fetch, SetStep
from luban.prepare.copies import equal_groups, present_in
from luban.prepare.plan import free_form


class Duplicates(SetStep):
    """Drops exact copies, or keeps them in one split."""

    class Config(SetStep.Config):
        """What is done with exact copies."""

        action: Literal["auto", "drop", "group"] = "auto"
        """drop: keep the first. group: keep all, in one split. auto: drop where a column is free-form,
        else group."""
        max_group_share: float = Field(0.05, gt=0, le=1)
        """With auto, groups of more than this share of all rows are taken for coincidence and left apart."""

    config: Config

    def columns(self, schema: Schema) -> tuple[str, ...]:
        """All inputs."""
        return tuple(column.name for column in schema.inputs)

    def keys(self, batch: pa.RecordBatch) -> np.ndarray:
        """One key a row, over all inputs."""
        return value_keys(batch.columns)[:, None]

    def decide(self, candidates: Iterator[Candidates], fetch: Fetch, schema: Schema) -> Iterator[Decision]:
        """Drop or group the copies, as the config says."""
        free = free_form(schema)
        automatic = self.config.action == "auto"
        drops = self.config.action == "drop" or (automatic and bool(free))
        for rows, firsts in equal_groups(candidates, fetch, self.columns(schema)):
            if drops:
                copies = rows != firsts
                rows, firsts = rows[copies], firsts[copies]
                if automatic:
                    there = present_in(rows, fetch, free)
                    rows, firsts = rows[there], firsts[there]
                yield Decision(rows, "drop", "duplicates", firsts, "has the same inputs as an earlier row")
            elif automatic:
                yield from self._group_or_flag(rows, firsts, fetch.num_rows)
            else:
                yield Decision(rows, "group", "duplicates", firsts, "has the same inputs")

    def _group_or_flag(self, rows: np.ndarray, firsts: np.ndarray, num_rows: int) -> Iterator[Decision]:
        starts = np.flatnonzero(rows == firsts)
        sizes = np.diff(np.append(starts, len(rows)))
        many = np.repeat(sizes > self.config.max_group_share * num_rows, sizes)
        yield Decision(rows[~many], "group", "duplicates", firsts[~many], "has the same inputs")
        if many.any():
            reason = "equal inputs in so many rows that they are taken for coincidence and not kept together"
            yield Decision(rows[many], "flag", "duplicates", firsts[many], reason)
