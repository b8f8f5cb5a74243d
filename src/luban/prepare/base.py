"""What a prepare step is: a row step changes values, a set step looks at many rows at once.

A row step maps value to value, learns nothing, needs the core alone, travels in the bundle and runs
at prediction too. A set step emits keys; equal keys bring candidates together; it verifies them on
the values and decides what to do with each row. Neither knows files, engines or models. Decided
here: candidates come in chunks of many groups, so that exact copies in 20 million rows are judged on
arrays, not group by group.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa

from luban.catalog import Component
from luban.data.schema import Schema


class RowStep(Component):
    """Value to value, for raw values of the column types it names in `types` (None: all).

    `value` is the one truth: idempotent, no state, no exception; None, lists and objects stay. `apply` is the same for
    a column.
    """

    types: ClassVar[tuple[str, ...] | None] = None
    keeps_floats: ClassVar[bool] = False
    """Whether a finite float certainly stays as it is; only to make answers to a few rows faster."""

    @abstractmethod
    def value(self, raw: Any) -> Any:
        """One raw value (str, number, bool, datetime or None) after this step."""

    def suited(self, readable: Callable[[str], bool]) -> RowStep:
        """This step as it should be for a column whose type can read the strings that `readable` accepts."""
        return self

    def settled(self, values: pa.Array) -> pa.Array | None:
        """Bool per value, True where `value` certainly changes nothing; None if unknown.

        Only to make `apply` faster; must never be True where `value` would change something.
        """
        return None

    def apply(self, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
        """The column after this step, and bool [B]: which values changed. Lists and structures stay as they are."""
        import pyarrow.compute as pc

        if pa.types.is_nested(values.type):
            return values, np.zeros(len(values), bool)
        settled = self.settled(values)
        todo = np.ones(len(values), bool) if settled is None else ~settled.to_numpy(zero_copy_only=False)
        changed = np.zeros(len(values), bool)
        rows = np.flatnonzero(todo)
        if not len(rows):
            return values, changed
        encoded = values.take(pa.array(rows)).dictionary_encode()
        before = encoded.dictionary.to_pylist()
        after = [self.value(value) for value in before]
        different = np.array([a is not b and a != b for a, b in zip(after, before, strict=True)], bool)
        indices = encoded.indices
        codes = indices.fill_null(0).to_numpy(zero_copy_only=False)
        valid = indices.is_valid().to_numpy(zero_copy_only=False)
        hit = different[codes] & valid if len(different) else np.zeros(len(rows), bool)
        changed[rows[hit]] = True
        if not hit.any():
            return values, changed
        replaced = pa.array(after, values.type).take(indices.take(pa.array(np.flatnonzero(hit))))
        return pc.replace_with_mask(values, pa.array(changed), replaced), changed


Action = Literal["drop", "flag", "group"]


@dataclass(frozen=True)
class Candidates:
    """Groups of rows that share a key, many groups at a time, so that steps can work on arrays.

    Group g is `rows[offsets[g]:offsets[g + 1]]`, ascending; every group has at least two rows. A row
    with K keys can stand in up to K groups.
    """

    rows: np.ndarray
    """[M] int64 positions in source order."""
    offsets: np.ndarray
    """[G + 1] int64, from 0 to M."""


@dataclass(frozen=True)
class Decision:
    """What a set step decided for rows, by position in source order. One Decision may hold many groups.

    `action` drop: the row goes to quarantine under `rule`; flag: it is kept and counted. group: row
    and other are in one split; groups that share a row become one.
    """

    rows: np.ndarray
    """[M] int64 positions."""
    action: Action
    rule: str
    others: np.ndarray
    """[M] int64: for drop and flag, the row that is kept or conflicted with; for group, the smallest
    position of the group."""
    reason: str
    """In words, for a person who asks why these rows were set aside."""


class Fetch(Protocol):
    """Parsed values of rows by position, from disk."""

    @property
    def num_rows(self) -> int:
        """Rows that were read in all: positions are below it."""

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        """Rows by position [M] int64 (sorted, unique), the named columns, in that order.

        Each call may scan the columns from end to end: ask for many rows at once.
        """


class SetStep(Component):
    """Looks at many rows at once, in one pass over sorted keys.

    `columns` picks what it reads; `keys` gives per row K keys of 64 bits; rows that share a key are
    candidates; `decide` verifies them on fetched values. Steps run in the order of the project
    file; a row that an earlier step dropped is not seen by later ones, except by a step with
    `sees_copies`, to which rows dropped as copies are shown too: its decision then replaces theirs.
    """

    sees_copies: ClassVar[bool] = False

    @abstractmethod
    def columns(self, schema: Schema) -> tuple[str, ...]:
        """The columns that `keys` reads. Empty: this step has nothing to do with such a schema."""

    @abstractmethod
    def keys(self, batch: pa.RecordBatch) -> np.ndarray:
        """Keys [B, K] uint64 of the rows of a batch that has just `columns`; 0 means "no key".

        Must not depend on the batch's other rows. May run in another process.
        """

    @abstractmethod
    def decide(self, candidates: Iterator[Candidates], fetch: Fetch, schema: Schema) -> Iterator[Decision]:
        """Decisions on candidates. Groups come whole and sorted by key; all but very large ones are
        handed over in chunks whose values fit into memory together (some 256 MB)."""
