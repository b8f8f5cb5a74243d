"""Where files lie: a path or any fsspec URL, how it is found, opened and hashed.

Decided here: a path without `://` is local, and relative to the project's folder; `~` is the home
folder; a name that ends in `.gz` is unpacked while it is read; hidden files (`.x`, `_x`) in a folder
are left out; folders and globs are read sorted by path. What is hashed is the stored bytes.
This module knows no file format.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from luban.catalog import fingerprint, nearest
from luban.errors import DataError

CHUNK_BYTES = 1 << 20
GLOB = set("*?[")
READ_ERRORS = (OSError, EOFError, zlib.error)
"""What a stream raises when bytes cannot be had; EOFError and zlib.error: a damaged .gz."""
_HASHES: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Place:
    """One file, on this machine or elsewhere."""

    fs: Any
    """The fsspec file system that holds it."""
    path: str
    """Its path there; absolute where local."""

    def __repr__(self) -> str:
        return f"Place({self.shown})"

    @property
    def local(self) -> bool:
        """Whether it lies on this machine."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def shown(self) -> str:
        """Path or URL, for messages."""
        return self.path if self.local else str(self.fs.unstrip_protocol(self.path))

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """Extension in lower case, that of a `.gz` being that of what is packed: `.csv`."""
        return Path(self.name.lower().removesuffix(".gz")).suffix

    @property
    def packed(self) -> bool:
        """Whether it is unpacked while it is read."""
        return self.name.lower().endswith(".gz")

    def state(self) -> str:
        """Something that changes when the file does: its size and time, or what its store says."""
        try:
            return str(self.fs.ukey(self.path))
        except READ_ERRORS as error:
            raise unreadable(self, error) from error

    def open(self) -> IO[bytes]:
        """Its bytes, unpacked. Raises DataError when it cannot be opened."""
        try:
            stream = cast("IO[bytes]", self.fs.open(self.path, "rb"))
        except READ_ERRORS as error:
            raise unreadable(self, error) from error
        return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if self.packed else stream

    def sha256(self) -> str:
        """SHA-256 of the stored bytes, kept for as long as the file does not change."""
        key = (self.shown, self.state())
        if key not in _HASHES:
            digest = hashlib.sha256()
            try:
                with self.fs.open(self.path, "rb") as stream:
                    while chunk := stream.read(CHUNK_BYTES):
                        digest.update(chunk)
            except READ_ERRORS as error:
                raise unreadable(self, error) from error
            _HASHES[key] = digest.hexdigest()
        return _HASHES[key]


def unreadable(place: Place, error: Exception) -> DataError:
    """The error for a file that is there and cannot be read."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DataError(
        f"`{place.shown}` cannot be read: {reason}.", "Look at its permissions, or whether it is complete."
    )


def fingerprint_of(places: list[Place]) -> str:
    """SHA-256 over the content of files, in this order."""
    return fingerprint([place.sha256() for place in places])


def resolve(path: str, base: Path | None = None) -> Place:
    """Where `path` points, whether or not there is anything."""
    if "://" not in path and "::" not in path:
        whole = (base or Path()) / Path(path).expanduser()
        return Place(LocalFileSystem(), str(whole.absolute()))
    try:
        fs, inner = fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise DataError(
            f"`{path}` needs a library that is not installed: {error}.", "Install it beside Luban."
        ) from error
    except ValueError as error:
        raise DataError(
            f"`{path}` is no path that can be read: {error}.", "Give a path, or a URL fsspec knows."
        ) from error
    return Place(fs, inner)


def elsewhere(path: str) -> str | None:
    """The path, if it names something that is not on this machine.

    >>> elsewhere("s3://bucket/a.csv"), elsewhere("file:///a.csv"), elsewhere("a.csv")
    ('s3://bucket/a.csv', None, None)
    """
    return path if "://" in path and not path.startswith(("file://", "local://")) else None


def is_folder(path: str, base: Path | None = None) -> bool:
    """Whether `path` is a folder."""
    place = resolve(path, base)
    return bool(place.fs.isdir(place.path))


def find_one(path: str, base: Path | None = None) -> Place:
    """The file at `path`. Raises DataError if there is none, with the nearest name that is there."""
    place = resolve(path, base)
    if place.fs.isfile(place.path):
        return place
    if place.fs.isdir(place.path):
        raise DataError(
            f"`path` must be a file, but `{place.shown}` is a folder.", "Name a file in it, or use kind `files`."
        )
    raise _missing(place)


def find(path: str, base: Path | None = None) -> list[Place]:
    """All files that `path` (file, folder with all below it, or glob) names, sorted by path."""
    place = resolve(path, base)
    if place.fs.isdir(place.path):
        start = place.path.rstrip("/") + "/"
        found = [p for p in place.fs.find(place.path) if not _hidden(p.removeprefix(start))]
        if not found:
            raise DataError(f"The folder `{place.shown}` holds no files.", "Name a folder with files in it.")
    elif place.fs.isfile(place.path):
        found = [place.path]
    elif GLOB & set(path):
        found = [p for p in place.fs.glob(place.path) if place.fs.isfile(p)]
        if not found:
            raise DataError(
                f"No file matches `{place.shown}`.", "Look at the pattern: `*` is any name, `**` any folders."
            )
    else:
        raise _missing(place)
    return [Place(place.fs, name) for name in sorted(found)]


def _hidden(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _missing(place: Place) -> DataError:
    """There is nothing at `place`: say what is looked for and what is near it."""
    folder = place.path.rstrip("/").rpartition("/")[0]
    there: list[str] = []
    if place.fs.isdir(folder or "/"):
        there = [str(name).rstrip("/").rpartition("/")[2] for name in place.fs.ls(folder or "/", detail=False)]
        close = nearest(place.name, there)
        hint = f"Did you mean `{close}`?" if close else f"The folder `{folder}` has no name like it."
    else:
        hint = f"There is no folder `{folder}` either."
    return DataError(f"There is no file `{place.shown}`.", hint)
