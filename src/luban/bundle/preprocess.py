"""From raw rows to parsed values: the row steps and parsers that travel in the bundle.

The same code for one served row (plain dictionaries) and for a file (Arrow batches): `RowStep.value`
and `Feature.parse_value` are the one truth, their bulk forms must agree with them (contract checks).
A bad row gets a reason and never stops others. Knows no encoder and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import pyarrow as pa

from luban.bundle.manifest import RowStepSpec
from luban.catalog import FEATURES, STEPS
from luban.data.schema import Schema
from luban.errors import BadValue

FEW_ROWS = 4
_FLOAT = {float}
NO_INPUT = "every input column is missing in this row"


@dataclass(frozen=True)
class Values:
    """Parsed values by input column, [B] each, None where missing; and per row None or what is wrong."""

    columns: dict[str, list[Any]]
    errors: list[str | None]


@dataclass(frozen=True, slots=True)
class _Column:
    """How values of one column are read."""

    name: str
    steps: tuple[Callable[[Any], Any], ...]
    parse: Callable[[Any], Any]
    keeps_floats: bool

    def is_ready(self, rows: Sequence[Mapping[str, Any]], columns: dict[str, list[Any]]) -> bool:
        """Whether all are finite floats that stay as they are; then they are put into `columns`."""
        if not self.keeps_floats:
            return False
        values: list[Any] = [row.get(self.name) for row in rows]
        if set(map(type, values)) != _FLOAT or not isfinite(sum(values)):
            return False
        columns[self.name] = values
        return True


def _row(plan: Sequence[_Column], row: Mapping[str, Any], columns: dict[str, list[Any]], position: int) -> bool:
    """Read one row into `columns`; whether it has a value. Raises BadValue."""
    present = False
    for column in plan:
        value = row.get(column.name)
        if value is None:
            continue
        if not (column.keeps_floats and type(value) is float and isfinite(value)):
            for step in column.steps:
                value = step(value)
            try:
                value = column.parse(value)
            except BadValue as error:
                raise BadValue(f"{column.name}: {error.message}") from None
            if value is None:
                continue
        columns[column.name][position] = value
        present = True
    return present


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
        self._plan = [self._of_column(name) for name in self.names]

    def _of_column(self, name: str) -> _Column:
        steps, feature = self._steps[name], self.features[name]
        keeps_floats = feature.reads_floats and all(step.keeps_floats for step in steps)
        return _Column(name, tuple(step.value for step in steps), feature.read, keeps_floats)

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Values:
        """Parsed values of a handful of rows; absent columns are missing."""
        columns: dict[str, list[Any]] = {}
        errors: list[str | None] = [None] * len(rows)
        rest = self._plan
        if len(rows) >= FEW_ROWS:
            # A column of finite floats is as it should be; seeing that costs less than looking at each value.
            rest = [one for one in self._plan if not one.is_ready(rows, columns)]
        seen = len(rest) < len(self._plan)
        for one in rest:
            columns[one.name] = [None] * len(rows)
        for position, row in enumerate(rows if rest else ()):
            try:
                present = _row(rest, row, columns, position)
            except BadValue as error:
                errors[position] = error.message
                continue
            if not present and not seen:
                errors[position] = NO_INPUT
        return Values(columns, errors)

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
