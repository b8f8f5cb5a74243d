"""Sources: one file per kind of place that rows come from. Does not know column types or models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from luban.data.sources.base import Source

SOURCES = {
    "files": ".files:Files",
    "csv": ".csv:Csv",
    "excel": ".excel:Excel",
    "jsonl": ".jsonl:JsonLines",
    "parquet": ".parquet:ParquetFiles",
    "text-files": ".text_files:TextFiles",
    "pictures": ".pictures:Pictures",
    "package": ".package:Package",
}


def open_path(path: str, base: Path | None = None) -> Source:
    """The source for a path as a person types it: file, folder, glob or URL; `-` is standard input."""
    from luban.data.sources import files

    return files.open_path(path, base)
