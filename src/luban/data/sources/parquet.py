"""Parquet: files read by row group, typed as they are.

Decided here: dictionaries and the wide forms of strings are given as plain values and strings, times of day as
text (13:05:00) and durations as seconds, so that what comes after sees one form of each; nested columns are given as
they are. Files of one folder must have the same columns
and types. A file is opened where it lies: only the row groups in hand are in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from luban import catalog
from luban.data.sources.base import RawBatch, agree
from luban.data.sources.path import PathSource
from luban.data.sources.place import READ_ERRORS, Place, unreadable
from luban.errors import DataError

_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
MAX_BATCH_BYTES = 64 << 20


class ParquetFiles(PathSource):
    """A Parquet file, or a folder or glob of them."""

    many = True

    class Config(catalog.Config):
        """Where they lie."""

        path: str
        """File, folder or glob, or any fsspec URL, relative to the project file."""

    config: Config

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows of all files, sorted by path."""
        return read_parquet(self.places(), batch_rows)


def read_parquet(places: list[Place], batch_rows: int) -> Iterator[RawBatch]:
    """Rows of Parquet files that have the same columns, one after another."""
    schema = _common_schema(places)
    for place in places:
        with _opened(place) as file:
            for batch in file.iter_batches(batch_size=_fitting(file, batch_rows), use_threads=False):
                columns = [_plain(batch.column(name)).cast(schema.field(name).type) for name in schema.names]
                yield RawBatch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _fitting(file: Any, batch_rows: int) -> int:
    """Rows of a batch: fewer than asked where they are long, as rows with pictures are."""
    about = file.metadata
    size = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    return int(max(1, min(batch_rows, MAX_BATCH_BYTES * about.num_rows // max(size, 1))))


def _common_schema(places: list[Place]) -> pa.Schema:
    first: tuple[Place, pa.Schema] | None = None
    rows = 0
    for place in places:
        with _opened(place) as file:
            schema = _plain_schema(file.schema_arrow)
            rows += file.metadata.num_rows
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if twice:
            raise DataError(
                f"Column names must be unique, but `{place.shown}` has these more than once: {', '.join(twice)}.",
                "Write the file again with other names.",
            )
        first = first or (place, schema)
        agree(first[0], first[1].names, place, schema.names)
        for each in first[1]:
            other = schema.field(each.name).type
            if other != each.type:
                raise DataError(
                    f"Files that are read together must have the same types, but column `{each.name}` is {each.type} "
                    f"in `{first[0].shown}` and {other} in `{place.shown}`.",
                    "Write them again with one type.",
                )
    if first is None or not rows:
        raise DataError(f"`{places[0].shown}` holds no rows.", "Give a file with at least one row.")
    return first[1]


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(each.name, _plain_type(each.type)) for each in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_time(kind):
        return pa.string()
    return pa.float64() if pa.types.is_duration(kind) else kind


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        return _plain(column.dictionary_decode())
    if pa.types.is_duration(column.type):
        return pc.divide(column.cast(pa.int64()).cast(pa.float64()), _UNITS[column.type.unit])
    if pa.types.is_time(column.type):
        return pc.replace_substring_regex(column.cast(pa.string()), r"\.0+$", "")
    return column


@contextmanager
def _opened(place: Place) -> Iterator[Any]:
    """The file, opened; what the reader raises becomes a DataError."""
    import pyarrow.parquet as pq

    try:
        with place.open() as stream, pq.ParquetFile(stream) as file:
            yield file
    except pa.ArrowInvalid as error:
        raise DataError(
            f"`{place.shown}` cannot be read as Parquet: {error}.", "Look whether it is complete."
        ) from error
    except READ_ERRORS as error:
        raise unreadable(place, error) from error
