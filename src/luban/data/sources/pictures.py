"""Pictures that lie as files: a folder whose sub-folders are classes, or a table with a column of paths.

    {kind: pictures, folder: parts}                     rows of `image` and `label`
    {kind: pictures, table: parts.csv, column: file}    the table, with the file itself in place of its path

Decided here: a folder without sub-folders gives rows of `image` and `file`, for there is no class to be told. Paths of
a table are seen from the folder that the table lies in, and must stay in it, links included: who writes a table must
not be able to read other files. What is no picture by its ending, is too large, or is not there, is a reject, and
stops no other row. Files are given as they are; nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
from pydantic import ConfigDict, Field, model_validator

from luban.catalog import Config, fingerprint
from luban.data.sources.base import RawBatch, Reject, Source
from luban.data.sources.place import READ_ERRORS, Place, elsewhere, find, find_one, is_folder, resolve
from luban.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MAX_BATCH_BYTES = 1 << 24


class PictureOptions(Config):
    """How pictures in files are read."""

    image_column: str = Field("image", min_length=1)
    """Name of the column of pictures, where a folder is read."""
    label_column: str = Field("label", min_length=1)
    """Name of the column of classes, where a folder has sub-folders."""
    max_file_bytes: int = Field(32 * 1024 * 1024, ge=1)
    """Largest file that is read; a larger one is set aside."""


class Pictures(Source):
    """Picture files, by folder or by a table of paths."""

    class Config(PictureOptions):
        """Where the files lie: either `folder`, or `table` and `column`."""

        model_config = ConfigDict(coerce_numbers_to_str=True)

        folder: str | None = None
        """A folder whose sub-folders are classes, named like them; or one of pictures alone, which have no class."""
        table: str | None = None
        """A file that `files` can read (CSV, JSON Lines …), with a column of paths seen from its own folder."""
        column: str | None = None
        """The column of the table that holds the paths; pictures take its place."""

        @model_validator(mode="after")
        def _one_of_them(self) -> Pictures.Config:
            if (self.folder is None) == (self.table is None) or (self.table is None) != (self.column is None):
                raise ValueError("either `folder` must be given, or `table` and `column` (the one of paths)")
            if self.image_column == self.label_column:
                raise ValueError(f"`image_column` and `label_column` must differ, but both are {self.image_column!r}")
            return self

    config: Config

    def fetches(self) -> str | None:
        """The URL, where the path is one."""
        return elsewhere(self.config.folder or self.config.table or "")

    def pins(self) -> dict[str, str]:
        """The hash of all files under the name of the folder or the table: there may be very many."""
        name = PurePosixPath(self.config.folder or self.config.table or "").name
        return {name: self.fingerprint()}

    def fingerprint(self) -> str:
        """SHA-256 over names and content of all pictures; of a table also of the table."""
        if self.config.folder is not None:
            root = self._root(self.config.folder)
            return fingerprint([[_below(place, root), place.sha256()] for place in find(self.config.folder, self.base)])
        files = [
            path if isinstance(place := self._place(path), str) else place.sha256()
            for batch in self._table().read()
            for path in self._paths(batch.rows)
        ]
        return fingerprint([self._table().fingerprint(), files])

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """Rows with the bytes of their pictures."""
        return self._folder(batch_rows) if self.config.folder is not None else self._of_table(batch_rows)

    def _root(self, folder: str) -> str:
        if not is_folder(folder, self.base):
            find(folder, self.base)  # says what is missing
            raise DataError(f"`folder` must be a folder, but `{folder}` is a file.", "Name the folder it lies in.")
        return resolve(folder, self.base).path.rstrip("/") + "/"

    def _folder(self, batch_rows: int) -> Iterator[RawBatch]:
        assert self.config.folder is not None
        root = self._root(self.config.folder)
        places = find(self.config.folder, self.base)
        pictures = [place for place in places if place.suffix in SUFFIXES]
        in_classes = [place for place in pictures if "/" in _below(place, root)]
        if not pictures or (in_classes and len(in_classes) < len(pictures)):
            what = "no picture" if not pictures else "pictures both in sub-folders and beside them"
            raise DataError(
                f"`{self.config.folder}` must hold pictures in sub-folders named like classes, or pictures alone, "
                f"but holds {what}.",
                f"Endings of pictures: {', '.join(SUFFIXES)}.",
            )
        names = (self.config.image_column, self.config.label_column if in_classes else "file")
        batch = _Batch(pa.schema([(names[0], pa.large_binary()), (names[1], pa.string())]))
        for place in places:
            found = self._bytes(place)
            if isinstance(found, str):
                batch.rejects.append(Reject(place.name, _below(place, root), found, batch.seen))
                batch.seen += 1
                continue
            label = _below(place, root)
            batch.add(found, label.split("/")[0] if in_classes else label)
            if len(batch.files) >= batch_rows or batch.size >= MAX_BATCH_BYTES:
                yield batch.flush()
        if batch.files or batch.rejects:
            yield batch.flush()

    def _bytes(self, place: Place) -> bytes | str:
        """A file's bytes, or why it is no row."""
        if place.suffix not in SUFFIXES:
            return "is no picture by its ending"
        try:
            with place.open() as stream:
                data = stream.read(self.config.max_file_bytes + 1)
        except (DataError, *READ_ERRORS) as error:
            return f"cannot be read: {getattr(error, 'message', error)}"
        if len(data) > self.config.max_file_bytes:
            return f"is larger than the {self.config.max_file_bytes:,} bytes of `max_file_bytes`"
        return data if data else "is empty"

    def _table(self) -> Source:
        from luban.data.sources.files import Files

        assert self.config.table is not None
        find_one(self.config.table, self.base)
        return Files(Files.Config(path=self.config.table)).at(self.base)

    def _paths(self, rows: pa.RecordBatch) -> list[str | None]:
        column = self.config.column
        if column not in rows.schema.names:
            known = ", ".join(rows.schema.names)
            raise DataError(f"`{self.config.table}` has no column `{column}`.", f"Columns: {known}.")
        found: list[str | None] = rows.column(column).cast(pa.string()).to_pylist()
        return found

    def _place(self, path: str | None) -> Place | str:
        """Where a path of the table points, or why it may not be read."""
        if path is None or not path.strip():
            return "has no path"
        assert self.config.table is not None
        table = resolve(self.config.table, self.base)
        folder = table.path.rpartition("/")[0]
        pure = PurePosixPath(path.strip().replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or "://" in path or ":" in pure.parts[0]:
            return f"the path {path[:200]} leads out of the folder of the table"
        place = Place(table.fs, f"{folder}/{pure}")
        if place.local and not Path(place.path).resolve().is_relative_to(Path(folder).resolve()):
            return f"the path {path[:200]} leads out of the folder of the table"
        return place if place.fs.isfile(place.path) else f"there is no file {path[:200]}"

    def _of_table(self, batch_rows: int) -> Iterator[RawBatch]:
        """The table's rows, as many at a time as their pictures allow."""
        for batch in self._table().read(batch_rows):
            kept, files, rejects = [], [], []
            size = 0
            for row, path in enumerate(self._paths(batch.rows)):
                place = self._place(path)
                found = place if isinstance(place, str) else self._bytes(place)
                if isinstance(found, str):
                    rejects.append(Reject(f"{self.config.table}, row {row + 1}", path or "", found))
                else:
                    kept.append(row)
                    files.append(found)
                    size += len(found)
                if size >= MAX_BATCH_BYTES:
                    yield self._joined(batch.rows, kept, files, rejects)
                    kept, files, rejects, size = [], [], [], 0
            rejects += [replace(one, position=None) for one in batch.rejects]
            yield self._joined(batch.rows, kept, files, rejects)

    def _joined(
        self, rows: pa.RecordBatch, kept: Sequence[int], files: Sequence[bytes], rejects: Sequence[Reject]
    ) -> RawBatch:
        """Rows of the table at these positions, with these files in place of their paths."""
        taken = rows.take(pa.array(kept, pa.int64()))
        at = rows.schema.names.index(self.config.column)
        schema = rows.schema.set(at, pa.field(self.config.column, pa.large_binary()))
        columns = [*taken.columns]
        columns[at] = pa.array(files, pa.large_binary())
        return RawBatch(pa.RecordBatch.from_arrays(columns, schema=schema), tuple(rejects))


def _below(place: Place, root: str) -> str:
    return place.path.removeprefix(root)


@dataclass
class _Batch:
    """Pictures and what stands beside them, until they make a batch."""

    schema: pa.Schema
    files: list[bytes] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    size: int = 0
    seen: int = 0
    """Rows and rejects of all batches."""

    def add(self, data: bytes, beside: str) -> None:
        self.files.append(data)
        self.beside.append(beside)
        self.size += len(data)
        self.seen += 1

    def flush(self) -> RawBatch:
        """The batch, and an empty one from here on."""
        columns = [pa.array(self.files, pa.large_binary()), pa.array(self.beside, pa.string())]
        full = RawBatch(pa.RecordBatch.from_arrays(columns, schema=self.schema), tuple(self.rejects))
        self.files, self.beside, self.rejects, self.size = [], [], [], 0
        return full
