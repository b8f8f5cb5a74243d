"""What a source is: rows as they were found, in order, with nothing judged.

A source reads Arrow batches without loading the whole, says what it could not read as a row, and has
a fingerprint of its content. It knows no column type and changes no value. Text formats give
strings only; typed formats (Parquet, JSON Lines, Excel) give what they hold. Decided here: relative
paths in a source's config are relative to `base`, the project's folder, which `at` sets.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pyarrow as pa

from luban.catalog import Component
from luban.data.sources.place import Place
from luban.errors import DataError


@dataclass(frozen=True)
class Reject:
    """Something that is not a row: where it stood, what it was, and why it is none."""

    where: str
    """File and line, for a person: `reviews.csv, line 12`."""
    raw: str
    reason: str
    position: int | None = None
    """Its place in the source, from 0, counted over rows and rejects alike; None where it is not known."""


@dataclass(frozen=True)
class RawBatch:
    """A batch of rows, at most `batch_rows`, and what was rejected while it was read."""

    rows: pa.RecordBatch
    rejects: tuple[Reject, ...] = field(default=())


class Source(Component):
    """A place where rows come from. Reading twice gives the same rows in the same order.

    Raises DataError for a missing or empty file, an encoding that is neither UTF-8 nor GB18030
    (naming the byte offset), column names that stand twice, or columns that differ between files.
    Not shared between threads.
    """

    base: Path | None = None
    """Folder that relative paths are relative to; None: the current directory."""

    def at(self, folder: Path | None) -> Self:
        """The same source with relative paths taken from `folder`."""
        other = copy.copy(self)
        other.base = None if folder is None else Path(folder)
        return other

    @abstractmethod
    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows, in order, all batches with one Arrow schema."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the content of all files (not their paths or times), in hexadecimal."""

    def fetches(self) -> str | None:
        """What reading would bring over a network, in words; None where all is on this machine. Asks no network."""
        return None

    def pins(self) -> dict[str, str]:
        """What was read, for lineage: file or package to SHA-256."""
        return {}


def cut(rows: pa.RecordBatch, rejects: list[Reject], batch_rows: int) -> Iterator[RawBatch]:
    """Slices of at most `batch_rows` rows; the first carries the rejects."""
    carried = tuple(rejects)
    for start in range(0, max(rows.num_rows, 1), batch_rows):
        if rows.num_rows or carried:
            yield RawBatch(rows.slice(start, batch_rows), carried)
        carried = ()


def moved(rejects: Sequence[Reject], by: int) -> tuple[Reject, ...]:
    """The same rejects, `by` further on in the source."""
    return tuple(replace(each, position=None if each.position is None else each.position + by) for each in rejects)


def agree(first: Place, names: list[str], other: Place, others: list[str]) -> None:
    """Raises DataError naming file and column unless both files have the same columns, in whatever order."""
    for name in [*names, *others]:
        if name not in others or name not in names:
            has, lacks = (first, other) if name in names else (other, first)
            raise DataError(
                f"Files that are read together must have the same columns, but `{has.shown}` has a column "
                f"`{name}` and `{lacks.shown}` has none of that name.",
                "Read them as sources of their own, or make their columns the same.",
            )
