"""The one global operation: keys of all rows are sorted, rows that share one are judged.

Decided here: each step scans the columns that it reads, the engine sorts its keys with spill, candidates come
in chunks whose values fit into memory. Occurrence numbers of equal raw rows are found in the same way.
Knows no step by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from luban.catalog import STEPS
from luban.data.rows import words
from luban.data.schema import Schema
from luban.engine.base import Engine
from luban.prepare.base import Candidates, SetStep
from luban.prepare.decisions import Decisions
from luban.prepare.plan import Plan
from luban.prepare.spool import HASH, Spool

CHUNK_BYTES = 192 << 20
_LEAST_ROWS, _MOST_ROWS = 1_000, 2_000_000


def occurrences(spool: Spool, engine: Engine, spill: Path) -> np.ndarray:
    """Which of the equal raw rows each row is, [N] uint32: 0 for the first."""

    def keys() -> Iterator[tuple[int, np.ndarray]]:
        for start, batch in spool.scan([HASH]):
            high = words(batch.column(0))[:, 0]
            yield start, np.maximum(high, np.uint64(1))

    found = np.zeros(spool.num_rows, np.uint32)
    groups = engine.sort(keys(), spill)
    try:
        for candidates in in_chunks(groups.chunks(), 4_000_000):
            rows = candidates.rows
            order = np.argsort(rows)
            hashes = spool(rows[order], [HASH]).column(0)
            pair = np.empty((len(rows), 2), np.uint64)
            pair[order] = np.concatenate([words(chunk) for chunk in hashes.chunks])
            found[rows] = _count_up(pair, candidates)
    finally:
        groups.close()
    return found


def _count_up(pair: np.ndarray, candidates: Candidates) -> np.ndarray:
    """For each candidate how many equal ones of its group precede it."""
    group = np.repeat(np.arange(len(candidates.offsets) - 1), np.diff(candidates.offsets))
    order = np.lexsort((candidates.rows, pair[:, 1], pair[:, 0], group))
    ordered = np.column_stack([group[order].astype(np.uint64), pair[order]])
    first = np.ones(len(order), bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    numbers = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    counted = np.empty(len(order), np.uint32)
    counted[order] = numbers
    return counted


def judge(plan: Plan, spool: Spool, decisions: Decisions, engine: Engine, spill: Path) -> Iterator[str]:
    """Run the set steps in order; yields the name of each before it runs."""
    for choice in plan.set_steps:
        step: SetStep = STEPS.resolve(choice.kind)(choice.config)
        yield choice.kind
        columns = step.columns(plan.schema)
        if columns:
            _judge_one(step, columns, plan.schema, spool, decisions, engine, spill)


def _judge_one(
    step: SetStep,
    columns: tuple[str, ...],
    schema: Schema,
    spool: Spool,
    decisions: Decisions,
    engine: Engine,
    spill: Path,
) -> None:
    def keys() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start, batch in spool.scan(list(columns)):
            seen = decisions.visible(start, batch.num_rows, step.sees_copies)
            positions = np.flatnonzero(seen)
            if len(positions):
                rows = batch if len(positions) == batch.num_rows else batch.filter(pa.array(seen))
                yield positions + start, step.keys(rows)

    target = schema.target
    read = {*columns, target.name} if target else set(columns)
    most = int(CHUNK_BYTES / max(spool.row_bytes(sorted(read)), 1))
    groups = engine.sort(keys(), spill)
    try:
        chunks = in_chunks(groups.chunks(), min(max(most, _LEAST_ROWS), _MOST_ROWS))
        for decision in step.decide(chunks, spool, schema):
            decisions.take(decision)
    finally:
        groups.close()


def in_chunks(groups: Iterable[tuple[np.ndarray, np.ndarray]], most: int) -> Iterator[Candidates]:
    """The groups (rows, offsets) in chunks of at most `most` rows; a larger group is a chunk of its own.

    Small chunks of the engine are joined, because each chunk may cost a step a scan of its columns.
    """
    held: list[Candidates] = []
    count = 0
    for rows, offsets in groups:
        first = 0
        while first < len(offsets) - 1:
            last = int(np.searchsorted(offsets, offsets[first] + most - count, side="right")) - 1
            if last <= first and held:
                yield _join(held)
                held, count = [], 0
                continue
            last = max(last, first + 1)
            part = Candidates(rows[offsets[first] : offsets[last]], offsets[first : last + 1] - offsets[first])
            held.append(part)
            count, first = count + len(part.rows), last
    if held:
        yield _join(held)


def _join(parts: list[Candidates]) -> Candidates:
    if len(parts) == 1:
        return parts[0]
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Candidates(np.concatenate([part.rows for part in parts]), np.concatenate([[0], np.cumsum(sizes)]))
