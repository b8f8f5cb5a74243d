"""The store: blobs and published folders, named by what is in them.

A folder by default, object storage or HDFS by URL (`s3://bucket/prefix`), through fsspec. Decided here:

- a name is a SHA-256, so writing the same twice changes nothing, and every read can be verified;
- nothing is seen before it is whole: written beside, synced, renamed;
- published folders (*trees*) are read-only, and on a local disk they are fetched without a copy.

Knows no datasets, bundles or runs; which names matter is written in the ledger.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlparse

from luban.errors import StoreError
from luban.store.durable import CHUNK_BYTES, writing
from luban.store.local import LocalPlace
from luban.store.place import Place, check_sha, hash_tree, list_tree, tree_sha
from luban.store.remote import RemotePlace
from luban.store.unfinished import Unfinished

_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Store:
    """Where bytes live. Threads and processes may share one; `url` is a folder or any URL of fsspec's.

    >>> import tempfile
    >>> store = Store(tempfile.mkdtemp())
    >>> sha = store.put(b"hello")
    >>> store.read(sha), store.has(sha)
    (b'hello', True)
    """

    def __init__(self, url: str | Path, workspace: str = "default") -> None:
        self.url = str(url)
        self.workspace = check_workspace(workspace)
        self._place = _open_place(self.url, workspace)

    def __repr__(self) -> str:
        return f"Store({str(self._place)!r})"

    def put(self, content: BinaryIO | bytes) -> str:
        """Keep bytes, or all that a stream still holds, and return their SHA-256. Idempotent."""
        if isinstance(content, bytes):
            sha = hashlib.sha256(content).hexdigest()
            if self._place.has_blob(sha):
                return sha
            content = io.BytesIO(content)
        digest = hashlib.sha256()
        with self._place.scratch.file("put") as file:
            with writing("a blob", self._place.scratch.root):
                while chunk := content.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
            self._place.keep_blob(file, digest.hexdigest())
        return digest.hexdigest()

    def open(self, sha: str) -> BinaryIO:
        """Open a blob for reading. Nothing is verified: see `read` and `verify`."""
        try:
            return self._place.open_blob(check_sha(sha))
        except FileNotFoundError as error:
            raise self._missing("blob", sha) from error

    def read(self, sha: str) -> bytes:
        """A whole blob, verified. Raises StoreError if its bytes changed."""
        with self.open(sha) as file:
            content = file.read()
        self._compare("Blob", sha, hashlib.sha256(content).hexdigest())
        return content

    def has(self, sha: str) -> bool:
        """Whether a blob of this name is there."""
        return self._place.has_blob(check_sha(sha))

    def publish(self, folder: Path) -> str:
        """Keep a folder with all files in it as a tree, and return its name.

        The name is a hash over relative paths and file hashes; empty folders and times do not
        count. On a local disk a folder from `scratch` is moved, and gone afterwards; any other is copied.
        """
        folder = Path(folder).absolute()
        if not folder.is_dir():
            raise StoreError(f"`folder` must be a folder, but `{folder}` is none.")
        if not self._place.moves or self._place.scratch.root in folder.parents:
            return self._publish(folder)
        with self.scratch("publish") as room:
            with writing("a folder", self._place.scratch.root):
                _copy(folder, room / "tree")
            return self._publish(room / "tree")

    def _publish(self, folder: Path) -> str:
        files = hash_tree(folder)
        sha = tree_sha(files)
        self._place.keep_tree(folder, files, sha)
        return sha

    def fetch(self, sha: str) -> Path:
        """A tree as a local, read-only folder; on a local disk the tree itself."""
        try:
            return self._place.tree(check_sha(sha))
        except FileNotFoundError as error:
            raise self._missing("tree", sha) from error

    def has_tree(self, sha: str) -> bool:
        """Whether a tree of this name is there, whole."""
        return self._place.has_tree(check_sha(sha))

    def verify(self, sha: str) -> None:
        """Read a blob or a tree and compare it with its name. Raises StoreError if it is damaged or missing."""
        if self.has_tree(sha):
            self._compare("Tree", sha, tree_sha(hash_tree(self.fetch(sha))))
            return
        digest = hashlib.sha256()
        with self.open(sha) as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        self._compare("Blob", sha, digest.hexdigest())

    def drop(self, sha: str) -> bool:
        """Remove the blob or tree of this name; whether there was one."""
        return self._place.drop(check_sha(sha))

    @contextlib.contextmanager
    def scratch(self, prefix: str = "work") -> Iterator[Path]:
        """A new folder for unfinished work, removed at the end, on the same disk as what is published.

        Entering it sweeps what killed processes left behind.
        """
        with self._place.scratch.folder(re.sub(r"[^\w-]", "-", prefix)) as folder:
            yield folder

    def unfinished(self, key: str) -> Unfinished:
        """Where unfinished work on the result `key` is kept, on this machine, until it is finished."""
        scratch = self._place.scratch
        return Unfinished(scratch.root.parent / "unfinished", scratch, key)

    def _compare(self, what: str, sha: str, found: str) -> None:
        if found != sha:
            raise StoreError(
                f"{what} {sha} in `{self._place}` is damaged: its bytes have the hash {found}.",
                "Drop it and run again what made it, or restore it from a backup.",
            )

    def _missing(self, what: str, sha: str) -> StoreError:
        return StoreError(
            f"There is no {what} {sha} in `{self._place}`.", "Run again what made it, or point to the right store."
        )


def check_workspace(name: str) -> str:
    """`name` itself if it can name a workspace; else a StoreError."""
    if not _WORKSPACE.fullmatch(name):
        raise StoreError(f"`workspace` must be 1 to 64 letters, digits, `-` or `_`, but got {name!r}.")
    return name


def _open_place(url: str, workspace: str) -> Place:
    if url.startswith("file:"):
        return LocalPlace(Path(unquote(urlparse(url).path)) / workspace)
    if "://" not in url:
        return LocalPlace(Path(url).expanduser().absolute() / workspace)
    return RemotePlace(url, workspace, _cache_folder(url) / workspace)


def _cache_folder(url: str) -> Path:
    base = os.environ.get("LUBAN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "luban"
    return Path(base).expanduser() / "stores" / hashlib.sha256(url.encode()).hexdigest()[:16]


def _copy(source: Path, target: Path) -> None:
    for name in list_tree(source):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    target.mkdir(exist_ok=True)  # a folder without files
