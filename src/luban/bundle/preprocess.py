"""From raw rows to parsed values: the row steps and parsers that travel in the bundle.

The same code for one served row (plain dictionaries) and for a file (Arrow batches): `RowStep.value`
and `Feature.parse_value` are the one truth, their bulk forms must agree with them (contract checks).
A bad row gets a reason and never stops others. Knows no encoder and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from luban.bundle.manifest import RowStepSpec
from luban.catalog import FEATURES, STEPS
from luban.data.schema import Schema
from luban.errors import BadValue

NO_INPUT = "every input column is missing in this row"


@dataclass(frozen=True)
class Values:
    """Parsed values by input column, [B] each, None where missing; and per row None or what is wrong."""

    columns: dict[str, list[Any]]
    errors: list[str | None]


class Preprocess:
    """Row steps and parsers of one schema. Immutable; threads may share it."""

    def __init__(self, schema: Schema, row_steps: Sequence[RowStepSpec]) -> None:
        self.names = [column.name for column in schema.inputs]
        self.features = {c.name: FEATURES.make(c.type, c.settings) for c in schema.inputs}
        self._steps: dict[str, list[Any]] = {name: [] for name in self.names}
        for spec in row_steps:
            step = STEPS.make(spec.kind, spec.config)
            for name in spec.columns:
                if name in self._steps:
                    self._steps[name].append(step)
        self._plan = [
            (name, [step.value for step in self._steps[name]], self.features[name].parse_value) for name in self.names
        ]

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Values:
        """Parsed values of a handful of rows; absent columns are missing."""
        columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in self.names}
        errors: list[str | None] = [None] * len(rows)
        for position, row in enumerate(rows):
            try:
                present = self._row(row, columns, position)
            except BadValue as error:
                errors[position] = error.message
                continue
            if not present:
                errors[position] = NO_INPUT
        return Values(columns, errors)

    def _row(self, row: Mapping[str, Any], columns: dict[str, list[Any]], position: int) -> bool:
        present = False
        for name, steps, parse in self._plan:
            value = row.get(name)
            if value is None:
                continue
            for step in steps:
                value = step(value)
            try:
                value = parse(value)
            except BadValue as error:
                raise BadValue(f"{name}: {error.message}") from None
            if value is not None:
                columns[name][position] = value
                present = True
        return present

    def batch(self, batch: pa.RecordBatch | pa.Table) -> Values:
        """Parsed values of an Arrow batch or table."""
        size = batch.num_rows
        columns: dict[str, list[Any]] = {}
        errors: list[str | None] = [None] * size
        present = [False] * size
        for name in self.names:
            if name not in batch.schema.names:
                columns[name] = [None] * size
                continue
            raw = batch.column(name)
            raw = raw.combine_chunks() if isinstance(raw, pa.ChunkedArray) else raw
            for step in self._steps[name]:
                raw, _ = step.apply(raw)
            parsed = self.features[name].parse(raw)
            for position, reason in parsed.bad.items():
                errors[position] = errors[position] or f"{name}: {reason}"
            columns[name] = parsed.values.to_pylist()
            present = [was or value is not None for was, value in zip(present, columns[name], strict=True)]
        for position, is_there in enumerate(present):
            if not is_there and errors[position] is None:
                errors[position] = NO_INPUT
        return Values(columns, errors)
