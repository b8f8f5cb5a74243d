"""Copies among rows: exact ones by equal values, near ones by the step that `prepare` uses, in memory.

Near copies are looked for in a sample, so that their share is a lower bound; without the extra `train` they are
not, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from luban.catalog import STEPS
from luban.data.schema import Column, Schema
from luban.errors import MissingExtra
from luban.look.finding import Finding, Level
from luban.prepare.base import Candidates

SAMPLE_ROWS = 5000
SHOWN = 0.01
"""Share of near copies that is worth saying."""


def exact(table: pa.Table) -> Iterator[Finding]:
    """Rows that equal an earlier one in every column."""
    if not table.num_rows:
        return
    counts = _flat(table).group_by(table.schema.names).aggregate([([], "count_all")])["count_all"]
    copies = table.num_rows - len(counts)
    if copies:
        level: Level = "warn" if copies >= SHOWN * table.num_rows else "note"
        yield Finding("copies", level, "", {"count": copies, "share": copies / table.num_rows})


def _flat(table: pa.Table) -> pa.Table:
    """The table with lists and objects as JSON, which can be compared."""
    for position, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            values = table[position].to_pylist()
            texts = [None if value is None else json.dumps(value, sort_keys=True, default=str) for value in values]
            table = table.set_column(position, field.name, pa.array(texts, pa.string()))
    return table


def conflicts(table: pa.Table, inputs: Sequence[str], target: str) -> Iterator[Finding]:
    """Rows whose inputs are equal and whose targets differ."""
    known = table.filter(pc.is_valid(table[target]))
    if not inputs or not known.num_rows:
        return
    flat = _flat(known.select([*inputs, target]))
    grouped = flat.group_by(list(inputs)).aggregate([(target, "count_distinct"), ([], "count_all")])
    rows = pc.sum(pc.if_else(pc.greater(grouped[f"{target}_count_distinct"], 1), grouped["count_all"], 0)).as_py()
    if rows:
        yield Finding("conflicts", "warn", target, {"count": rows, "share": rows / known.num_rows})


def near(sample: pa.Table, names: Sequence[str]) -> Iterator[Finding]:
    """The share of a sample whose texts are nearly those of another row, exact copies apart."""
    names = [name for name in names if _is_text(sample.schema.field(name).type)]
    if not names:
        return
    texts = [sample.column(name).cast(pa.large_string()).combine_chunks() for name in names]
    table = pa.table(dict(zip(names, texts, strict=True))).group_by(list(names)).aggregate([]).slice(0, SAMPLE_ROWS)
    schema = Schema(columns=tuple(Column(name=name, type="text") for name in names))
    step = STEPS.make("near-duplicates")
    try:
        keys = np.concatenate([step.keys(batch) for batch in table.combine_chunks().to_batches()])
    except MissingExtra:
        yield Finding("near-not-looked", "note")
        return
    decided = list(step.decide(iter([candidates(keys)]), _InMemory(table), schema))
    rows = len(np.unique(np.concatenate([one.rows for one in decided]))) if decided else 0
    if rows >= SHOWN * table.num_rows:
        yield Finding("near-copies", "warn", "", {"share": rows / table.num_rows, "rows": table.num_rows})


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner))


def candidates(keys: np.ndarray) -> Candidates:
    """Rows that share a key [B, K] uint64, 0 being none, in groups."""
    rows = np.repeat(np.arange(len(keys)), keys.shape[1])
    flat = keys.reshape(-1)
    rows, flat = rows[flat != 0], flat[flat != 0]
    order = np.lexsort((rows, flat))
    rows, flat = rows[order], flat[order]
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1])) if len(flat) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(starts, len(flat)))
    kept = np.repeat(sizes > 1, sizes)
    return Candidates(rows[kept].astype(np.int64), np.append(0, np.cumsum(sizes[sizes > 1])).astype(np.int64))


class _InMemory:
    """Rows of a table, as set steps fetch them."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def num_rows(self) -> int:
        return int(self._table.num_rows)

    def __call__(self, rows: np.ndarray, columns: Sequence[str]) -> pa.Table:
        return self._table.select(list(columns)).take(pa.array(rows))
