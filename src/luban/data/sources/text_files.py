"""Plain texts, one class a file or folder: rows of `text` and `label`.

Decided here: a line ends at a line feed (with or without a carriage return) and nowhere else; a line
of white space alone is no row, and is counted in one reject a file, as is an empty file where a
file is a row. Classes come in the order of the config, or of their folders' names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import ConfigDict, Field, model_validator

from luban.catalog import Config, fingerprint
from luban.data.sources.base import RawBatch, Reject, Source
from luban.data.sources.csv import Encoding
from luban.data.sources.encoding import encoding_of, open_utf8
from luban.data.sources.place import READ_ERRORS, Place, elsewhere, find, is_folder, resolve, unreadable
from luban.errors import DataError

MAX_BATCH_CHARACTERS = 1 << 24
SUFFIXES = (".txt", ".text", ".md")


class TextOptions(Config):
    """How plain texts are read."""

    unit: Literal["line", "file"] | None = None
    """What is one row. Left out: a line where `files` are named, a file in a folder of classes."""
    text_column: str = Field("text", min_length=1)
    """Name of the column of texts."""
    label_column: str = Field("label", min_length=1)
    """Name of the column of classes."""
    encoding: Encoding = None
    """Left out: UTF-8, GB18030 or (with a byte order mark) UTF-16, whichever each file is."""


class TextFiles(Source):
    """Text files per class."""

    class Config(TextOptions):
        """Which files hold which class: either `files` or `folder`."""

        model_config = ConfigDict(coerce_numbers_to_str=True)

        files: dict[str, str] | None = Field(None, min_length=1)
        """Class to its file or glob (any fsspec URL), relative to the project file."""
        folder: str | None = None
        """A folder whose sub-folders are classes, named like them."""

        @model_validator(mode="after")
        def _one_of_them(self) -> TextFiles.Config:
            if (self.files is None) == (self.folder is None):
                raise ValueError("either `files` (class to file) or `folder` (sub-folders are classes) must be given")
            if self.text_column == self.label_column:
                raise ValueError(f"`text_column` and `label_column` must differ, but both are {self.text_column!r}")
            return self

    config: Config

    def _places(self) -> list[tuple[str, Place]]:
        if self.config.files is not None:
            return [(label, p) for label, path in self.config.files.items() for p in find(path, self.base)]
        return classes(self.config.folder or "", self.base)

    def fetches(self) -> str | None:
        """The first URL among its paths."""
        paths = self.config.files.values() if self.config.files is not None else [self.config.folder or ""]
        return next(filter(None, map(elsewhere, paths)), None)

    def fingerprint(self) -> str:
        """SHA-256 over classes and content."""
        return fingerprint([[label, place.sha256()] for label, place in self._places()])

    def pins(self) -> dict[str, str]:
        """`class/file name` to SHA-256."""
        return {f"{label}/{place.name}": place.sha256() for label, place in self._places()}

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """Rows of two strings, text and class."""
        places = self._places()
        unit = self.config.unit or ("line" if self.config.files is not None else "file")
        encodings = [encoding_of(place, self.config.encoding) for _, place in places]
        batch = _Batch((self.config.text_column, self.config.label_column), batch_rows)
        rows = 0
        for (label, place), encoding in zip(places, encodings, strict=True):
            before = rows
            for text in _texts(place, encoding, unit, batch.rejects):
                rows += 1
                if batch.add(text, label):
                    yield batch.flush()
            if unit == "line" and rows == before:
                raise DataError(f"`{place.shown}` holds no text.", "Give a file with one text a line.")
        if not rows:
            raise DataError("All these text files are empty.", "Give files with texts.")
        if batch.texts or batch.rejects:
            yield batch.flush()


def classes(folder: str, base: Path | None = None) -> list[tuple[str, Place]]:
    """Class and file, for each file below the sub-folders of `folder`. Raises DataError if it has none."""
    if not is_folder(folder, base):
        find(folder, base)  # says what is missing
        raise DataError(f"`folder` must be a folder, but `{folder}` is a file.", "Use `files`, or name its folder.")
    root = resolve(folder, base).path.rstrip("/") + "/"
    places = find(folder, base)
    loose = [place.name for place in places if "/" not in place.path.removeprefix(root)]
    if loose:
        raise DataError(
            f"`{folder}` must hold only folders named like classes, but it also holds {', '.join(loose[:3])}.",
            "Move the files into such folders, or name them under `files`.",
        )
    return [(place.path.removeprefix(root).split("/")[0], place) for place in places]


class _Batch:
    """Texts and classes until they make a batch."""

    def __init__(self, names: tuple[str, str], max_rows: int) -> None:
        self.schema = pa.schema([(name, pa.string()) for name in names])
        self.max_rows = max_rows
        self.texts: list[str] = []
        self.labels: list[str] = []
        self.rejects: list[Reject] = []
        self.characters = 0

    def add(self, text: str, label: str) -> bool:
        """Whether the batch is full now."""
        self.texts.append(text)
        self.labels.append(label)
        self.characters += len(text)
        return len(self.texts) >= self.max_rows or self.characters >= MAX_BATCH_CHARACTERS

    def flush(self) -> RawBatch:
        """The batch, and an empty one from here on."""
        columns = [pa.array(self.texts, pa.string()), pa.array(self.labels, pa.string())]
        full = RawBatch(pa.RecordBatch.from_arrays(columns, schema=self.schema), tuple(self.rejects))
        for each in (self.texts, self.labels, self.rejects):
            each.clear()
        self.characters = 0
        return full


def _texts(place: Place, encoding: str, unit: str, rejects: list[Reject]) -> Iterator[str]:
    """The texts of one file."""
    blank = 0
    try:
        with open_utf8(place, encoding) as stream:
            if unit == "file":
                text = stream.read().decode("utf-8")
                if text.strip():
                    yield text
                else:
                    rejects.append(Reject(place.name, text, "is empty"))
                return
            for line in stream:
                text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
                if text.strip():
                    yield text
                else:
                    blank += 1
    except READ_ERRORS as error:
        raise unreadable(place, error) from error
    if blank:
        rejects.append(Reject(place.name, "", f"{blank} blank line{'s' * (blank > 1)}"))
