"""What a kind of storage must be able to do for the Store, and the names it uses.

    <root>/<workspace>/blobs/ab/abcd…      one blob, named by the SHA-256 of its bytes
    <root>/<workspace>/trees/abcd…/        one published folder, named by the hash of its manifest
    <root>/<workspace>/tmp/                unfinished work (on a local disk)

Nothing becomes visible under a final name before it is whole. Knows neither SQL nor what is stored.
"""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from luban.catalog import fingerprint
from luban.errors import StoreError
from luban.store.durable import CHUNK_BYTES
from luban.store.scratch import Scratch

_SHA = re.compile(r"[0-9a-f]{64}")


class Place(ABC):
    """One kind of storage. Safe to use from many threads and processes at once.

    `scratch` is room on a local disk; `moves` says that `keep_tree` takes the folder itself away.
    """

    moves: bool = False
    scratch: Scratch

    @abstractmethod
    def keep_blob(self, file: BinaryIO, sha: str) -> None:
        """Make a finished scratch file visible as blob `sha`."""

    @abstractmethod
    def open_blob(self, sha: str) -> BinaryIO:
        """Open a blob for reading. Raises FileNotFoundError."""

    @abstractmethod
    def has_blob(self, sha: str) -> bool:
        """Whether the blob is there."""

    @abstractmethod
    def keep_tree(self, folder: Path, files: Mapping[str, str], sha: str) -> None:
        """Make a folder visible as tree `sha`; `files` maps relative paths to file hashes."""

    @abstractmethod
    def tree(self, sha: str) -> Path:
        """A tree as a local folder. Raises FileNotFoundError."""

    @abstractmethod
    def has_tree(self, sha: str) -> bool:
        """Whether the tree is there, whole."""

    @abstractmethod
    def drop(self, sha: str) -> bool:
        """Remove the blob and the tree of this name; whether there was one."""


def check_sha(sha: str) -> str:
    """`sha` itself if it is 64 hexadecimal digits; else a StoreError."""
    if not _SHA.fullmatch(sha):
        raise StoreError(f"`sha` must be 64 hexadecimal digits, but got {sha!r}.")
    return sha


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def list_tree(folder: Path) -> list[str]:
    """Relative paths (with `/`) of all files below `folder`, sorted; links and devices are refused."""
    found = []
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise StoreError(
                    f"`{path}` cannot be published: it is neither a plain file nor a folder.", "Copy what it points to."
                )
        found += [(Path(parent) / name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def hash_tree(folder: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every file below `folder`."""
    return {name: hash_file(folder / name) for name in list_tree(folder)}


def tree_sha(files: Mapping[str, str]) -> str:
    """The name of a tree: the hash over its sorted relative paths and file hashes."""
    return fingerprint(dict(files))
