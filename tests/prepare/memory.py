"""A source whose rows are in memory, and a shortcut to a dataset: for tests of prepare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from luban.data.config import DataConfig
from luban.data.dataset import Dataset
from luban.data.sources.base import RawBatch, Reject, Source
from luban.engine.local import LocalEngine
from luban.prepare.config import PrepareConfig
from luban.prepare.run import prepare

CLEAN = ["unicode", "missing", "duplicates", "label-conflicts"]


class Memory(Source):
    """Rows of a table, given out in batches of `size`, with rejects before the first."""

    def __init__(self, columns: Mapping[str, Sequence[Any]] | pa.Table, size: int = 7, rejects: int = 0) -> None:
        super().__init__()
        self.table = columns if isinstance(columns, pa.Table) else pa.table(dict(columns))
        self.size, self.rejects = size, rejects

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        rejects = tuple(Reject(f"memory, line {n + 2}", "a,b,c", "has 3 values, not 2") for n in range(self.rejects))
        for batch in self.table.combine_chunks().to_batches(max_chunksize=self.size):
            yield RawBatch(batch, rejects)
            rejects = ()

    def fingerprint(self) -> str:
        return "0" * 64


def make(
    out: Path,
    columns: Mapping[str, Sequence[Any]] | pa.Table,
    data: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    size: int = 7,
    rejects: int = 0,
    seed: int = 0,
) -> Dataset:
    """A dataset in the new folder `out`."""
    out.mkdir(parents=True)
    return prepare(
        Memory(columns, size, rejects),
        DataConfig.model_validate({"source": "memory.csv", **(data or {})}),
        PrepareConfig.model_validate(config or {}),
        out,
        seed=seed,
        engine=LocalEngine(),
    )


def quarantine(dataset: Dataset) -> list[dict[str, Any]]:
    """All rows of quarantine.parquet."""
    found: list[dict[str, Any]] = pq.read_table(dataset.folder / "quarantine.parquet").to_pylist()
    return found


def changed(dataset: Dataset) -> list[tuple[str, str, str]]:
    """All rows of changed.parquet: row id, column, rule."""
    return [tuple(row.values()) for row in pq.read_table(dataset.folder / "changed.parquet").to_pylist()]


def split_of(dataset: Dataset, column: str) -> dict[Any, str]:
    """The split of each row, by the value of a column that is different in every row."""
    rows = dataset.table([column, "_split"]).to_pylist()
    return {row[column]: row["_split"] for row in rows}
