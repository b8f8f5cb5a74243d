"""Rows on disk while they are prepared: written once in order, then scanned, or fetched by position.

Decided here: a Parquet file with one row group a batch, so that reading some rows costs their row groups
and no more than one of them is in memory. Does not know what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from luban.data.sources.base import RawBatch, Reject

if TYPE_CHECKING:
    import pyarrow.parquet as pq

BATCH_ROWS, BATCH_BYTES = 65_536, 64 << 20
HASH, CHANGED = "_hash", "_changed"
"""What parsed rows have beside their columns: the hash of the raw row, and marks of what was changed in it."""


class Spool:
    """One table, first written, then read. Implements `Fetch`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._starts = [0]
        self._bytes: dict[str, int] = {}

    @property
    def num_rows(self) -> int:
        """Rows written so far."""
        return self._starts[-1]

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch, as one row group."""
        import pyarrow.parquet as pq

        if not batch.num_rows:
            return
        if self._writer is None:
            # no dictionaries: what is read back once is not worth the time to look for repeats
            self._writer = pq.ParquetWriter(
                self._path, batch.schema, compression="lz4", use_dictionary=False, write_statistics=False
            )
        self._writer.write_batch(batch, row_group_size=batch.num_rows)
        self._starts.append(self.num_rows + batch.num_rows)
        for name in batch.schema.names:
            self._bytes[name] = self._bytes.get(name, 0) + batch.column(name).nbytes

    def finish(self) -> None:
        """No more rows."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def row_bytes(self, columns: Sequence[str]) -> float:
        """Bytes that one row of these columns takes in memory, on average."""
        return sum(self._bytes[name] for name in columns) / max(self.num_rows, 1)

    def scan(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The batches as they were written, each with the position of its first row."""
        import pyarrow.parquet as pq

        if not self.num_rows:
            return
        with pq.ParquetFile(self._path) as file:
            for number, start in enumerate(self._starts[:-1]):
                yield start, _one_batch(file.read_row_group(number, columns=columns, use_threads=False))

    def batch(self, start: int) -> pa.RecordBatch:
        """The batch whose first row has this position."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            return _one_batch(file.read_row_group(self._starts.index(start), use_threads=False))

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        """Rows by position [M] int64 (sorted, unique), the named columns, in that order."""
        import pyarrow.parquet as pq

        bounds = np.searchsorted(rows, self._starts)
        found: list[pa.Table] = []
        with pq.ParquetFile(self._path) as file:
            for number in np.flatnonzero(np.diff(bounds)).tolist():
                group = file.read_row_group(number, columns=list(columns), use_threads=False)
                within = rows[bounds[number] : bounds[number + 1]] - self._starts[number]
                found.append(group if len(within) == group.num_rows else group.take(pa.array(within)))
            if not found:
                return file.schema_arrow.empty_table().select(columns)
        return pa.concat_tables(found).select(columns)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    columns = [column.combine_chunks() if column.num_chunks != 1 else column.chunk(0) for column in table.columns]
    return pa.RecordBatch.from_arrays(columns, schema=table.schema)


def even(batches: Iterable[RawBatch]) -> Iterator[RawBatch]:
    """The same rows in batches of BATCH_ROWS, or fewer where that would be more than BATCH_BYTES.

    A batch comes with what was rejected while its rows were read.
    """
    held: list[pa.RecordBatch] = []
    rejects: list[Reject] = []
    count = size = 0
    for batch in batches:
        rejects.extend(batch.rejects)
        rest = batch.rows
        while rest.num_rows:
            part = rest.slice(0, BATCH_ROWS - count)
            rest = rest.slice(part.num_rows)
            held.append(part)
            count, size = count + part.num_rows, size + part.nbytes
            if count >= BATCH_ROWS or size >= BATCH_BYTES:
                yield RawBatch(_join(held), tuple(rejects))
                held, rejects, count, size = [], [], 0, 0
    if held:
        yield RawBatch(_join(held), tuple(rejects))
    elif rejects:
        yield RawBatch(batch.rows.slice(0, 0), tuple(rejects))


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else _one_batch(pa.Table.from_batches(batches).combine_chunks())
