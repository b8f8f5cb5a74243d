"""JSON Lines: one object a row, all columns in every row.

Decided here: null where missing; NaN and infinity are null too, because JSON does not know them.
"""

from __future__ import annotations

import pyarrow as pa

from luban.data.sinks.base import Sink
from luban.data.sinks.json_text import json_line, values_of
from luban.data.sinks.output import ByteOutput


class JsonLinesSink(Sink):
    """Writes JSON Lines."""

    _out: ByteOutput | None = None

    def open(self, path: str, schema: pa.Schema) -> None:
        """Start writing."""
        self._out = ByteOutput(path)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        assert self._out is not None, "open first"
        names = batch.schema.names
        columns = [values_of(column) for column in batch.columns]
        lines = [json_line(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        self._out.write(b"".join(lines))

    def close(self, failed: bool) -> None:
        """Publish, or throw away."""
        if self._out is not None:
            self._out.close(failed)
