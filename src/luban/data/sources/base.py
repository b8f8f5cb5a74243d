"""What a source is: rows as they were found, in order, with nothing judged.

A source reads Arrow batches without loading the whole, says what it could not read as a row, and has
a fingerprint of its content. It knows no column type and changes no value. Text formats give
strings only; typed formats (Parquet, JSON Lines, Excel) give what they hold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from luban.catalog import Component


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
    """

    @abstractmethod
    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows, in order, all batches with one Arrow schema."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over the content of all files (not their paths or times), in hexadecimal."""

    def pins(self) -> dict[str, str]:
        """What was read, for lineage: file or package to SHA-256."""
        return {}
