"""Which values row steps and types changed: marked in the first pass, written with row ids in the last.

Decided here: a rule is a row step, or `parse`, the reading as the column's type. What may change is known
beforehand, so a mark is one bit a row and rule, in the order in which the rules act. The file is cut into row
groups of a fixed size, so that its bytes do not depend on the batches. Knows no step and no values, but for
a few examples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from luban.prepare.plan import Plan

Rule = tuple[str, str]
"""A column, and what changed its value."""

PARSE = "parse"
NUM_EXAMPLES = 5
GROUP_ROWS = 131_072
_ROWS_AT_ONCE = 4_096
SCHEMA = pa.schema([("row_id", pa.string()), ("column", pa.string()), ("rule", pa.string())])


@dataclass
class Changes:
    """How often a rule changed a column's values, with a few examples: place in the batch, before, after."""

    count: int = 0
    examples: list[tuple[int, str, str | None]] = field(default_factory=list)


def rules(plan: Plan) -> tuple[Rule, ...]:
    """All that may change a value of a row, in order; a step that is used twice on a column is there twice."""
    return tuple(
        (column.name, kind)
        for column in plan.schema.columns
        for kind in (*(kind for kind, _ in plan.steps_of(column.name)), PARSE)
    )


class Marks:
    """Which of `num_rules` rules changed a value of each of `num_rows` rows; told once for every rule, in order."""

    def __init__(self, num_rows: int, num_rules: int) -> None:
        self._bits = np.zeros((num_rows, -(-num_rules // 8)), np.uint8)
        self._num_rules, self._told = num_rules, 0

    def tell(self, rows: np.ndarray) -> None:
        """The next rule changed these rows [C], each of them once."""
        self._bits[rows, self._told // 8] |= np.uint8(128 >> self._told % 8)
        self._told += 1

    def column(self) -> pa.Array:
        """The marks [num_rows], fixed-size binary."""
        assert self._told == self._num_rules, "every rule must have told"
        data = pa.py_buffer(self._bits.tobytes())
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(self._bits.shape[1]), len(self._bits), [None, data], null_count=0
        )


def marked(column: pa.Array) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows [C] and numbers of rules [C] of `Marks.column`, in order, some thousand rows at a time."""
    width = column.type.byte_width
    flat = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: len(column) * width]
    bits = flat.reshape(-1, width)
    changed = np.flatnonzero(bits.any(axis=1))
    for start in range(0, len(changed), _ROWS_AT_ONCE):
        rows = changed[start : start + _ROWS_AT_ONCE]
        places, numbers = np.nonzero(np.unpackbits(bits[rows], axis=1))
        yield rows[places], numbers


class ChangesFile:
    """Writes `changed.parquet`: row id, column and rule of every changed value. Exists also when it is empty."""

    def __init__(self, path: Path, rules: tuple[Rule, ...]) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["column", "rule"])
        self._rules = rules
        self._names = [pa.array([rule[place] for rule in rules], pa.string()) for place in (0, 1)]
        self._counts = np.zeros(len(rules), np.int64)
        self._held: list[pa.RecordBatch] = []
        self._num_held = 0

    def take(self, identifiers: pa.Array, marks: pa.Array) -> None:
        """The next rows: their row ids [B] and their marks [B]."""
        for rows, numbers in marked(marks):
            self._counts += np.bincount(numbers, minlength=len(self._rules))
            codes = pa.array(numbers)
            columns = [identifiers.take(pa.array(rows)), *(names.take(codes) for names in self._names)]
            self._held.append(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))
            self._num_held += len(rows)
            if self._num_held >= GROUP_ROWS:
                self._flush()

    def _flush(self) -> None:
        """Write whole row groups and hold the rest."""
        table = pa.Table.from_batches(self._held, SCHEMA)
        whole = len(table) // GROUP_ROWS * GROUP_ROWS
        self._writer.write_table(table.slice(0, whole), row_group_size=GROUP_ROWS)
        self._held = table.slice(whole).combine_chunks().to_batches()
        self._num_held -= whole

    def close(self) -> dict[Rule, int]:
        """Write the rest. How many values were written by column and rule, those with none left out."""
        if self._num_held:
            self._writer.write_table(pa.Table.from_batches(self._held, SCHEMA), row_group_size=GROUP_ROWS)
        self._writer.close()
        found: dict[Rule, int] = {}
        for rule, count in zip(self._rules, self._counts.tolist(), strict=True):
            if count:
                found[rule] = found.get(rule, 0) + count
        return found
