"""Everything that the first pass leaves: rows on disk, raw and parsed, and what was found out on the way.

Decided here: raw rows are kept too, so that rows set aside later can be kept whole even if the source
changes meanwhile. Errors that concern a whole column are raised here, once all rows have been seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from luban.data.infer import cleaned, guess, structured
from luban.data.sources.base import RawBatch, Reject
from luban.engine.base import Engine
from luban.errors import DataError
from luban.prepare.changes import NUM_EXAMPLES, Changes, Rule, rules
from luban.prepare.clean import Clean, Cleaned
from luban.prepare.decisions import Decisions
from luban.prepare.plan import Plan
from luban.prepare.spool import Spool, even


class Varied:
    """Whether a column holds nothing, one value in all rows, or more."""

    def __init__(self) -> None:
        self.first: pa.Scalar | None = None
        self.missing = self.varied = False

    def update(self, column: pa.Array) -> None:
        """Take the next values."""
        self.missing |= bool(column.null_count)
        if self.varied or column.null_count == len(column):
            return
        present = column.drop_null()
        self.first = present[0] if self.first is None else self.first
        if pa.types.is_nested(column.type):
            first = self.first.as_py()
            self.varied = any(value != first for value in present.to_pylist())
            return
        self.varied = bool(pc.any(pc.not_equal(present, self.first)).as_py())

    def nothing_to_learn(self) -> str | None:
        """Why the column has nothing to learn from, or None."""
        if self.first is None:
            return "has no value in any row"
        return None if self.varied or self.missing else "has the same value in every row"


@dataclass
class Ingested:
    """Rows on disk and figures. `reasons` holds (row, reason) of rows dropped in this pass, ascending."""

    raw: Spool
    parsed: Spool
    reasons: Spool
    rules: tuple[Rule, ...]
    """What the marks in `parsed` stand for."""
    num_rejects: int = 0
    changes: dict[Rule, Changes] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    bad_examples: dict[str, tuple[str, str]] = field(default_factory=dict)
    varied: dict[str, Varied] = field(default_factory=dict)
    dropped: list[tuple[str, str, np.ndarray]] = field(default_factory=list)
    """Rule, column and rows."""

    def decisions(self) -> Decisions:
        """The fates so far."""
        found = Decisions(self.parsed.num_rows)
        for rule, column, rows in self.dropped:
            found.drop(rows, rule, column, "")
        return found


def ingest(
    batches: Iterable[RawBatch],
    plan: Plan,
    engine: Engine,
    num_workers: int,
    folder: Path,
    reject: Callable[[Sequence[Reject]], None],
    progress: Callable[[int], None],
) -> Ingested:
    """Read and clean all rows. `reject` gets what was no row, `progress` the rows so far."""
    raw, parsed, reasons = (Spool(folder / f"{name}.parquet") for name in ("raw", "parsed", "reasons"))
    found = Ingested(raw, parsed, reasons, rules(plan))
    waiting: deque[int] = deque()

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in even(batches):
            if batch.rejects:
                reject(batch.rejects)
                found.num_rejects += len(batch.rejects)
            if batch.rows.num_rows:
                waiting.append(found.raw.num_rows)
                found.raw.write(batch.rows)
                yield batch.rows

    for result in engine.map(Clean(plan), rows(), num_workers):
        _collect(found, result, waiting.popleft())
        progress(found.parsed.num_rows)
    for spool in (found.raw, found.parsed, found.reasons):
        spool.finish()
    return found


def _collect(found: Ingested, cleaned: Cleaned, start: int) -> None:
    assert start == found.parsed.num_rows, "results must come in the order of batches"
    found.parsed.write(cleaned.parsed)
    for key, changes in cleaned.changes.items():
        entry = found.changes.setdefault(key, Changes())
        entry.count += changes.count
        room = NUM_EXAMPLES - len(entry.examples)
        entry.examples += [(start + row, before, after) for row, before, after in changes.examples[:room]]
    for total, part in ((found.present, cleaned.present), (found.bad, cleaned.bad)):
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    found.bad_examples = {**cleaned.bad_examples, **found.bad_examples}
    for name in cleaned.present:
        found.varied.setdefault(name, Varied()).update(cleaned.parsed.column(name))
    if not cleaned.dropped:
        return
    by_rule: dict[tuple[str, str], list[int]] = {}
    for row in cleaned.dropped:
        by_rule.setdefault((row.rule, row.column), []).append(start + row.row)
    found.dropped += [(rule, column, np.array(rows)) for (rule, column), rows in by_rule.items()]
    rows = pa.array([start + row.row for row in cleaned.dropped], pa.int64())
    found.reasons.write(pa.record_batch({"row": rows, "reason": [row.reason for row in cleaned.dropped]}))


def check_columns(found: Ingested, plan: Plan, max_bad_share: float, sample: pa.Table) -> None:
    """Raise DataError for a target that cannot be learnt, or a column of which too much cannot be read."""
    for column in plan.schema.columns:
        name, bad, present = column.name, found.bad[column.name], found.present[column.name]
        if not bad or bad <= max_bad_share * present or column.role == "meta":
            continue
        value, reason = found.bad_examples[name]
        raise DataError(
            f"Column `{name}` must be a {column.type}, but {bad} of its {present} values cannot be read, "
            f"for instance `{value}`: {reason}.",
            _advice(name, column.type, cleaned(sample, name, [step for _, step in plan.steps_of(name)]))
            + f", or raise `prepare.max_bad_share` ({max_bad_share}).",
        )
    target = plan.schema.target
    if target is None:
        return
    if found.varied[target.name].first is None:
        raise DataError(
            f"The target `{target.name}` has no value that can be read in any of {found.raw.num_rows} rows.",
            "Name another column as `data.target`, or look at its values.",
        )
    if not found.varied[target.name].varied:
        raise one_class(target.name, str(found.varied[target.name].first))


def _advice(name: str, kind: str, present: Sequence[Any]) -> str:
    """What to do with a column of these values that are not of this type."""
    if why := structured(present):
        return f"It {why}, or leave it out by `data: {{columns: {{{name}: {{role: meta}}}}}}`"
    other = guess(present)[0]
    return f"Say `data: {{columns: {{{name}: {other if other != kind else 'text'}}}}}`"


def one_class(target: str, value: str) -> DataError:
    """The error for a target with one value only."""
    return DataError(
        f"The target `{target}` must have at least two different values, but it has one: `{value}`.",
        "There is nothing to tell apart. Add rows of another class, or name another target.",
    )


def drop_without_input(parsed: Spool, plan: Plan, decisions: Decisions) -> None:
    """Set rows aside that have no value in any input column."""
    names = [column.name for column in plan.schema.inputs]
    for start, batch in parsed.scan(names):
        missing = np.logical_and.reduce([c.is_null().to_numpy(zero_copy_only=False) for c in batch.columns])
        missing &= decisions.visible(start, batch.num_rows, False)
        if missing.any():
            reason = "every input column is missing in this row"
            decisions.drop(np.flatnonzero(missing) + start, "no-input", "", reason)
