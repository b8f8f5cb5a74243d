"""Rows that were set aside, kept whole: who, where, by which rule and why, and the raw row as JSON.

Decided here: what was no row at all comes first, in the order in which it was read, then rows in
source order. The file always exists, also when it is empty.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from luban.data.binary import written
from luban.data.sources.base import Reject

_TEXT = pa.string()
SCHEMA = pa.schema(
    [
        ("row_id", _TEXT),  # null for what was no row
        ("where", _TEXT),
        ("rule", _TEXT),
        ("reason", _TEXT),
        ("column", _TEXT),  # the column that is to blame, or null
        ("other", _TEXT),  # row id of the row that it copies or conflicts with, or null
        ("raw", _TEXT),  # JSON of the row as it was read; for what was no row, the text
    ]
)


class Quarantine:
    """Writes `quarantine.parquet`."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(path, SCHEMA, compression="zstd")
        self._held: list[dict[str, Any]] = []

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Take what was no row."""
        for one in rejects:
            self.add({"where": one.where, "rule": "source", "reason": one.reason, "raw": one.raw})

    def add(self, row: dict[str, Any]) -> None:
        """Take one row of SCHEMA; what is not given is null."""
        self._held.append(row)
        if len(self._held) >= 10_000:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._held, SCHEMA))
            self._held = []

    def close(self) -> None:
        """Write the rest."""
        self._flush()
        self._writer.close()


def as_json(row: dict[str, Any]) -> str:
    """A raw row as one line of JSON; values that JSON does not know become strings, bytes data URIs."""
    return json.dumps(row, ensure_ascii=False, default=_as_text)


def _as_text(value: Any) -> str:
    return str(written(value))
