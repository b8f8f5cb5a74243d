"""Parquet: one row group a batch, zstd."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from luban.data.sinks.base import Sink
from luban.data.sinks.output import Output, close_quietly, no_stdout


class ParquetSink(Sink):
    """Writes Parquet."""

    _out: Output | None = None

    def open(self, path: str, schema: pa.Schema) -> None:
        """Start writing."""
        no_stdout(path, "Parquet")
        out = Output(path)
        with out.guarded():
            self._writer = pq.ParquetWriter(str(out.file), schema, compression="zstd")
        self._out = out

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        assert self._out is not None, "open first"
        with self._out.guarded():
            self._writer.write_batch(batch)

    def close(self, failed: bool) -> None:
        """Publish, or throw away."""
        if self._out is None:
            return
        if failed:
            close_quietly(self._writer)
            self._out.discard()
            return
        with self._out.guarded():
            self._writer.close()
        self._out.publish()
