"""G002: has training seen what it is tested on?

Looks at the dataset itself and does not take `prepare`'s word: rows, copies, groups, subjects and time.
Copies count only where a column is free-form (a review, not a shoe size): elsewhere equal rows are
coincidence. Memory: a few numbers per row, never the values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from luban.catalog import FEATURES
from luban.data.dataset import GROUP, ROW_ID, Dataset, Split
from luban.data.rows import value_keys
from luban.release.gates.base import Case, Gate, Said, Verdict

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class NoLeak(Gate):
    """Passes if no two splits share a row, a copy, a group or a subject, nor does training see the future."""

    code = "G002"
    title = "Are test rows unseen?"

    def check(self, case: Case) -> Verdict:
        """Compare the splits of the case's dataset."""
        dataset = case.dataset
        split = case.project.get("prepare", {}).get("split", {})
        checks = list(_shared(dataset, split))
        leaks = [(what, todo) for what, todo in checks if todo is not None]
        counts = Said("gate_splits", {name: f"{dataset.splits.get(name, 0):,}" for name in SPLITS})
        if leaks:
            todo = list({todo.key: todo for _, todo in leaks if todo is not None}.values())
            return self.failed([counts, Said("gate_overlap"), *(one for what, _ in leaks for one in what)], todo)
        return self.passed([counts, Said("gate_apart"), *(one for what, _ in checks for one in what)])


Found = tuple[list[Said], Said | None]
"""What was found, and what to do about it; None if it is no leak."""


def _shared(dataset: Dataset, split: dict[str, object]) -> Iterator[Found]:
    yield _overlap("rows", _keys(dataset, [ROW_ID], [ROW_ID]))
    yield _copies(dataset)
    yield _overlap("groups", _numbers(dataset, GROUP))
    by, named = split.get("by", "auto"), split.get("column")
    together = [(str(c.role), c.name) for c in dataset.schema.of_role("subject", "group")]
    if by in ("subject", "group") and isinstance(named, str) and named not in [name for _, name in together]:
        together.append((str(by), named))
    for role, name in together:
        yield _overlap("values", _keys(dataset, [name], [name]), {"role": Said(f"gate_role_{role}"), "column": name})
    times = dataset.schema.of_role("time")
    if by == "time" or (by == "auto" and times and not together):
        column = named if isinstance(named, str) else times[0].name if times else None
        if column is not None:
            yield _future(dataset, column)


def _overlap(
    what: str, names: dict[Split, np.ndarray], values: Mapping[str, str | Said] = MappingProxyType({})
) -> Found:
    shared = {(a, b): len(np.intersect1d(names[a], names[b])) for a, b in combinations(SPLITS, 2)}
    found: list[Said] = [
        Said(f"gate_{what}_shared", {**values, "count": f"{count:,}", "a": Said(f"split_{a}"), "b": Said(f"split_{b}")})
        for (a, b), count in shared.items()
        if count
    ]
    return (found, Said(f"gate_{what}_todo", values)) if found else ([Said(f"gate_{what}_apart", values)], None)


def _copies(dataset: Dataset) -> Found:
    inputs = dataset.schema.inputs
    free = [column.name for column in inputs if FEATURES.resolve(column.type).free_form]
    if not free:
        return [Said("gate_copies_unknown")], None
    names = _keys(dataset, [column.name for column in inputs], free)
    return _overlap("copies", names)


def _keys(dataset: Dataset, columns: list[str], any_of: list[str]) -> dict[Split, np.ndarray]:
    """Distinct 64-bit keys of the columns' stored values by split, of rows where one of `any_of` is there."""
    found: dict[Split, np.ndarray] = {}
    for split in SPLITS:
        pieces = [np.zeros(0, np.uint64)]
        for batch in dataset.batches(columns, split):
            there = [batch.column(name).is_valid().to_numpy(zero_copy_only=False) for name in any_of]
            pieces.append(value_keys(batch.columns)[np.logical_or.reduce(there)])
        found[split] = np.unique(np.concatenate(pieces))
    return found


def _numbers(dataset: Dataset, column: str) -> dict[Split, np.ndarray]:
    return {split: np.unique(_array(dataset, column, split)) for split in SPLITS}


def _array(dataset: Dataset, column: str, split: Split) -> np.ndarray:
    """A column of numbers or times [N]; times as integers of their unit, missing as NaN or the smallest."""
    values = dataset.table([column], split).column(0)
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.int64())
    return np.asarray(values.to_numpy())


def _future(dataset: Dataset, column: str) -> Found:
    """A group goes to its latest part, so each group counts with its latest row."""
    train = _array(dataset, column, "train").astype(np.float64)
    for split in ("test", "valid"):
        times = _array(dataset, column, split).astype(np.float64)
        if not len(times) or not len(train):
            continue
        _, inverse = np.unique(_array(dataset, GROUP, split), return_inverse=True)
        latest = np.full(inverse.max() + 1, -np.inf)
        np.fmax.at(latest, inverse, times)
        late = int((train >= np.min(latest[np.isfinite(latest)], initial=np.inf)).sum())
        if late:
            values: dict[str, str | Said] = {"count": f"{late:,}", "column": column, "a": Said(f"split_{split}")}
            return [Said("gate_late", values)], Said("gate_late_todo")
    return [Said("gate_early", {"column": column})], None
