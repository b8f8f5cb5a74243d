"""What a sink is: answers written as they come, published whole or not at all."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType

import pyarrow as pa

from luban.catalog import Component


class Sink(Component):
    """Writes record batches of one schema to a path (`-` is standard output).

    Writes beside and renames on success; if the block raises, nothing is left at the path.
    Raises StoreError if it cannot be written (disk full, no access), DataError for values or a
    number of rows that the format cannot hold. Not shared between threads.

        sink = open_sink("answers.csv")
        sink.open("answers.csv", schema)
        with sink:
            sink.write(batch)
    """

    @abstractmethod
    def open(self, path: str, schema: pa.Schema) -> None:
        """Start writing."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""

    @abstractmethod
    def close(self, failed: bool) -> None:
        """Publish, or throw away what was written if `failed`."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(failed=kind is not None)
