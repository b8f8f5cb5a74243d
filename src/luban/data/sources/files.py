"""The usual source: a path, whatever lies there.

Decided here: a file's format is that of its extension; files of a folder or glob are read one after
another, sorted by path, and must have the same columns; a folder whose files are all texts, or all pictures,
in sub-folders is one class a sub-folder. What a format's own source does is not done again here.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from pydantic import Field

from luban.catalog import Config
from luban.data.sources.base import RawBatch, Source
from luban.data.sources.csv import CsvOptions, read_csv
from luban.data.sources.excel import ExcelOptions, read_excel
from luban.data.sources.jsonl import read_jsonl
from luban.data.sources.parquet import read_parquet
from luban.data.sources.pictures import SUFFIXES as PICTURE_SUFFIXES
from luban.data.sources.pictures import PictureOptions, Pictures
from luban.data.sources.place import Place, elsewhere, find, fingerprint_of, is_folder
from luban.data.sources.text_files import SUFFIXES as TEXT_SUFFIXES
from luban.data.sources.text_files import TextFiles, TextOptions
from luban.errors import DataError

Format = Literal["csv", "excel", "jsonl", "parquet", "pictures", "text"]
FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "excel",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
    **dict.fromkeys(PICTURE_SUFFIXES, "pictures"),
}


class FilesOptions(Config):
    """How files are read."""

    format: Format | None = None
    """csv (also tsv), excel, jsonl (also a .json array), parquet, or text or pictures (a folder whose sub-folders
    are classes). Left out: that of the extension."""
    csv: CsvOptions = CsvOptions()
    """How CSV files are read."""
    excel: ExcelOptions = ExcelOptions()
    """How Excel files are read."""
    text: TextOptions = TextOptions()
    """How a folder of texts is read."""
    pictures: PictureOptions = PictureOptions()
    """How a folder of pictures is read."""


class Files(Source):
    """A file, a folder or a glob of CSV, TSV, Excel, JSON Lines, Parquet or text files, or a folder of pictures."""

    class Config(FilesOptions):
        """Where and how."""

        path: str = Field(min_length=1)
        """File, folder (with all below it) or glob, or any fsspec URL, relative to the project file."""

    config: Config

    def places(self) -> list[Place]:
        """The files that are read, in order."""
        return find(self.config.path, self.base)

    def _texts(self) -> TextFiles:
        """The source of a folder of classes."""
        if not is_folder(self.config.path, self.base):
            raise DataError(
                f"`{self.config.path}` holds plain text, which has no columns.",
                "Use kind `text-files` and name each class's file, or give a folder whose sub-folders are classes.",
            )
        settings = {**self.config.text.model_dump(), "folder": self.config.path}
        return TextFiles(TextFiles.Config.model_validate(settings)).at(self.base)

    def _pictures(self) -> Pictures:
        """The source of a folder of pictures."""
        settings = {**self.config.pictures.model_dump(), "folder": self.config.path}
        return Pictures(Pictures.Config.model_validate(settings)).at(self.base)

    def fetches(self) -> str | None:
        """The URL, where the path is one."""
        return elsewhere(self.config.path)

    def fingerprint(self) -> str:
        """SHA-256 over the content of all files."""
        places = self.places()
        match self._format(places):
            case "text":
                return self._texts().fingerprint()
            case "pictures":
                return self._pictures().fingerprint()
        return fingerprint_of(places)

    def pins(self) -> dict[str, str]:
        """File name to SHA-256; where two have one name, the path."""
        places = self.places()
        if self._format(places) == "pictures":
            return self._pictures().pins()
        names = [place.name for place in places]
        return {p.name if names.count(p.name) == 1 else p.shown: p.sha256() for p in places}

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows of all files."""
        places = self.places()
        config = self.config
        match self._format(places):
            case "csv":
                return read_csv(places, config.csv, batch_rows)
            case "excel":
                return read_excel(places, config.excel, batch_rows)
            case "jsonl":
                return read_jsonl(places, batch_rows)
            case "parquet":
                return read_parquet(places, batch_rows)
            case "pictures":
                return self._pictures().read(batch_rows)
            case "text":
                return self._texts().read(batch_rows)

    def _format(self, places: list[Place]) -> Format:
        if self.config.format is not None:
            return self.config.format
        formats: dict[Format, Place] = {}
        for place in places:
            if place.suffix not in FORMATS:
                raise DataError(
                    f"`{place.shown}` is of no format that can be told from its extension.",
                    f"Set `format` to one of {', '.join(sorted(set(FORMATS.values())))}, or use a glob such as "
                    f"`folder/*.csv`. Known extensions: {', '.join(FORMATS)}, and .gz after them.",
                )
            formats.setdefault(FORMATS[place.suffix], place)
        if len(formats) > 1:
            found = ", ".join(f"{name} (`{place.name}`)" for name, place in formats.items())
            raise DataError(
                f"`{self.config.path}` must hold files of one format, but holds {found}.",
                "Use a glob such as `folder/*.csv`.",
            )
        return next(iter(formats))


def open_path(path: str, base: Path | None = None) -> Source:
    """The source for a path as a person types it; `-` is standard input (CSV, or JSON by its first byte).

    Standard input can be read once only, so it is kept in a temporary file until the source is let go.
    """
    if path != "-":
        return Files(Files.Config(path=path)).at(base)
    return Spooled(sys.stdin.buffer)


class Spooled(Files):
    """A stream that cannot be read twice, kept in a temporary file."""

    def __init__(self, stream: IO[bytes]) -> None:
        head = stream.read(1 << 16)
        json_like = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")
        # Open for as long as the source lives; then the system deletes it.
        self._file = tempfile.NamedTemporaryFile(suffix=".jsonl" if json_like else ".csv")  # noqa: SIM115
        self._file.write(head)
        shutil.copyfileobj(stream, self._file)
        self._file.flush()
        super().__init__(Files.Config(path=self._file.name))
