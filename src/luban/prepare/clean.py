"""The first pass: raw rows through row steps and parsers, a batch at a time, in any process.

Decided here: a value of an input, target or weight column that cannot be read sets its row aside, and so do
a missing target and a row without any input (a model could not answer it); elsewhere an unreadable
value is missing, and counted. Knows no files, no other batch, and no set steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from luban.data.binary import shown
from luban.data.infer import as_text
from luban.data.rows import row_hashes
from luban.data.schema import Column
from luban.prepare.base import RowStep
from luban.prepare.changes import NUM_EXAMPLES, PARSE, Changes, Marks, Rule, rules
from luban.prepare.plan import Plan
from luban.prepare.spool import CHANGED, HASH

_MUST_READ = ("input", "target", "weight")


@dataclass(frozen=True)
class Dropped:
    """A row that is set aside, by its place in the batch."""

    row: int
    rule: str
    column: str
    reason: str


@dataclass
class Cleaned:
    """A batch after row steps and parsing: all its rows, also those that are dropped."""

    parsed: pa.RecordBatch = None
    """The columns of the schema in their types' storage, `_hash` and `_changed`."""
    dropped: list[Dropped] = field(default_factory=list)
    """At most one entry a row, ascending."""
    changes: dict[Rule, Changes] = field(default_factory=dict)
    """By column and rule."""
    present: dict[str, int] = field(default_factory=dict)
    """Values by column that were there to be read."""
    bad: dict[str, int] = field(default_factory=dict)
    """Values by column that could not be read."""
    bad_examples: dict[str, tuple[str, str]] = field(default_factory=dict)
    """A value and the reason, by column."""


class Clean:
    """Maps a raw batch to a Cleaned one. Depends on nothing but its plan and that batch."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __getstate__(self) -> Plan:
        return self.plan

    def __setstate__(self, plan: Plan) -> None:
        self.plan = plan

    def __call__(self, raw: pa.RecordBatch) -> Cleaned:
        """The batch after row steps and parsing."""
        cleaned = Cleaned()
        dropped: dict[int, Dropped] = {}
        marks = Marks(raw.num_rows, len(self._rules))
        columns = [
            self._column(column, raw.column(column.name), cleaned, dropped, marks)
            for column in self.plan.schema.columns
        ]
        self._whole_rows(columns, dropped)
        names = [column.name for column in self.plan.schema.columns]
        columns += [row_hashes(raw), marks.column()]
        cleaned.parsed = pa.RecordBatch.from_arrays(columns, [*names, HASH, CHANGED])
        cleaned.dropped = [dropped[row] for row in sorted(dropped)]
        return cleaned

    def _column(
        self, column: Column, raw: pa.Array, cleaned: Cleaned, dropped: dict[int, Dropped], marks: Marks
    ) -> pa.Array:
        values = self._carried(column, raw)
        for kind, step in self._steps[column.name]:
            before = values
            values, changed = step.apply(values)
            rows = np.flatnonzero(changed)
            marks.tell(rows)
            _note(cleaned.changes, (column.name, kind), rows, before, values)
        parsed = self.plan.features[column.name].parse(values)
        cleaned.present[column.name] = len(values) - values.null_count
        cleaned.bad[column.name] = len(parsed.bad)
        marks.tell(parsed.changed)
        if len(parsed.changed):
            cleaned.changes.setdefault((column.name, PARSE), Changes()).count += len(parsed.changed)
        if parsed.bad:
            row, reason = next(iter(parsed.bad.items()))
            cleaned.bad_examples[column.name] = (_shown(values[row].as_py()), reason)
            if column.role in _MUST_READ:
                for row, reason in parsed.bad.items():
                    dropped.setdefault(row, Dropped(row, "parse", column.name, reason))
        return parsed.values

    def _carried(self, column: Column, raw: pa.Array) -> pa.Array:
        """Raw values; objects and lists of a column that is carried along as JSON text, unless its type holds lists."""
        kept = column.role != "meta" or pa.types.is_nested(self.plan.features[column.name].storage)
        if kept or not pa.types.is_nested(raw.type):
            return raw
        return pa.array([None if value is None else as_text(value) for value in raw.to_pylist()], pa.string())

    @cached_property
    def _rules(self) -> tuple[Rule, ...]:
        return rules(self.plan)

    @cached_property
    def _steps(self) -> dict[str, list[tuple[str, RowStep]]]:
        return {column.name: self.plan.steps_of(column.name) for column in self.plan.schema.columns}

    def _whole_rows(self, columns: list[pa.Array], dropped: dict[int, Dropped]) -> None:
        """Drop rows without a target, and rows without any input."""
        schema = self.plan.schema
        missing = {c.name: values.is_null() for c, values in zip(schema.columns, columns, strict=True)}
        target = schema.target
        if target is not None and not self.plan.features[target.name].missing_is_value:
            for row in np.flatnonzero(missing[target.name].to_numpy(zero_copy_only=False)).tolist():
                dropped.setdefault(row, Dropped(row, "target-missing", target.name, "has no value"))
        inputs = [missing[column.name].to_numpy(zero_copy_only=False) for column in schema.inputs]
        if inputs:
            for row in np.flatnonzero(np.logical_and.reduce(inputs)).tolist():
                dropped.setdefault(row, Dropped(row, "no-input", "", "every input column is missing in this row"))


def _note(changes: dict[Rule, Changes], key: Rule, rows: np.ndarray, before: pa.Array, after: pa.Array) -> None:
    if not len(rows):
        return
    entry = changes.setdefault(key, Changes())
    entry.count += len(rows)
    for row in rows[: NUM_EXAMPLES - len(entry.examples)].tolist():
        new = after[row].as_py()
        entry.examples.append((row, _shown(before[row].as_py()), None if new is None else _shown(new)))


def _shown(value: Any, most: int = 80) -> str:
    text = str(shown(value))
    return text if len(text) <= most else f"{text[:most]}…"
