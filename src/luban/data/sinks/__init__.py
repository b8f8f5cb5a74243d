"""Sinks: one file per kind of file that answers are written to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from luban.data.sinks.base import Sink

SINKS = {
    "csv": ".csv:CsvSink",
    "excel": ".excel:ExcelSink",
    "jsonl": ".jsonl:JsonLinesSink",
    "parquet": ".parquet:ParquetSink",
}
EXTENSIONS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "excel",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def open_sink(path: str) -> Sink:
    """The sink for a path as a person types it, by its extension; `-` is CSV on standard output.

    Raises DataError for an extension that no sink writes.
    """
    from luban import catalog
    from luban.errors import DataError

    kind = "csv" if path == "-" else EXTENSIONS.get(Path(path).suffix.lower())
    if kind is None:
        raise DataError(
            f"The file to write must end in one of {', '.join(EXTENSIONS)}, but got `{path}`.",
            "Give it such a name, or `-` for CSV on standard output.",
        )
    sink: Sink = catalog.SINKS.make(kind)
    return sink
