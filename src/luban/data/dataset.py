"""A dataset: an immutable table with a schema, kept as Parquet, read in batches.

A folder holds `rows-00000.parquet` … in source order, `schema.json`, `dataset.json` (counts,
fingerprint, lineage), `report.json` (what prepare did), `quarantine.parquet` (rows set aside, whole) and
`changed.parquet` (row id, column and rule of every value that was changed, also of rows set aside; not part of
the fingerprint). Beside the columns of the schema every row has `_row_id` (32 hexadecimal digits), `_group`
(uint64: rows of one group are in one split) and `_split` (train, valid or test). Code that can stream
uses `batches`.

This module does not know column types, and does not make datasets: `prepare` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from luban.data.schema import Schema
from luban.errors import DataError

if TYPE_CHECKING:
    import pyarrow.dataset as pads

Split = Literal["train", "valid", "test"]
ROW_ID, GROUP, SPLIT = "_row_id", "_group", "_split"


class Dataset:
    """An immutable table on disk.

    `fingerprint` is a hash of schema and content: the same rows, types and splits give the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "dataset.json").is_file():
            raise DataError(f"`{folder}` is not a dataset: it has no dataset.json.", "Run `luban prepare` first.")

    def __repr__(self) -> str:
        return f"Dataset({self.fingerprint[:12]}, {self.num_rows} rows)"

    @cached_property
    def info(self) -> dict[str, Any]:
        """dataset.json: `fingerprint`, `num_rows`, `splits` (rows a split), `lineage`."""
        found: dict[str, Any] = json.loads((self.folder / "dataset.json").read_text("utf-8"))
        return found

    @cached_property
    def schema(self) -> Schema:
        """Columns with type, role and settings."""
        return Schema.model_validate_json((self.folder / "schema.json").read_text("utf-8"))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of schema and content."""
        return str(self.info["fingerprint"])

    @property
    def num_rows(self) -> int:
        """Rows in all splits."""
        return int(self.info["num_rows"])

    @property
    def splits(self) -> dict[str, int]:
        """Rows a split."""
        return dict(self.info["splits"])

    @cached_property
    def report(self) -> dict[str, Any]:
        """What prepare did: counts by step and rule."""
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text("utf-8"))
        return found

    @cached_property
    def _arrow(self) -> pads.Dataset:
        import pyarrow.dataset as pads

        files = sorted(str(path) for path in self.folder.glob("rows-*.parquet"))
        return pads.dataset(files, format="parquet")

    def batches(
        self, columns: Sequence[str], split: Split | None = None, batch_rows: int = 16_384
    ) -> Iterator[pa.RecordBatch]:
        """Record batches of the named columns in source order, of one split or all."""
        import pyarrow.compute as pc

        where = None if split is None else pc.field(SPLIT) == split
        scanner = self._arrow.scanner(
            columns=list(columns), filter=where, batch_size=batch_rows, batch_readahead=2, fragment_readahead=1
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield batch

    def table(self, columns: Sequence[str], split: Split | None = None) -> pa.Table:
        """The same as one Arrow table: for what must be whole (training)."""
        schema = pa.schema([self._arrow.schema.field(name) for name in columns])
        return pa.Table.from_batches(self.batches(columns, split), schema)

    def values(self, column: str, split: Split | None = None) -> list[Any]:
        """One column as Python values, None where missing."""
        found: list[Any] = self.table([column], split).column(0).to_pylist()
        return found
