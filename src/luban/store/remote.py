"""Blobs and trees on object storage, HDFS or whatever else fsspec reaches by URL.

A blob is uploaded beside and moved. A tree's files lie under its own prefix, so that dropping it
touches no other; its manifest, which makes it visible, is written last. Fetched trees and unfinished
work lie in a local cache folder. An upload that was cut off leaves an object under `tmp/` or below a
tree's prefix that nobody reads; a lifecycle rule of the bucket may remove those under `tmp/`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from luban.catalog import canonical
from luban.errors import StoreError
from luban.store.local import LocalPlace
from luban.store.place import Place, hash_file, hash_tree, tree_sha
from luban.store.scratch import lock_path


class RemotePlace(Place):
    """A prefix of a file system of fsspec's, with a local cache."""

    def __init__(self, url: str, workspace: str, cache: Path) -> None:
        from fsspec.core import url_to_fs

        try:
            self._fs, root = url_to_fs(url)
        except ImportError as error:
            raise StoreError(f"`{url.partition(':')[0]}://` needs a library that is not installed: {error}") from error
        except ValueError as error:
            raise StoreError(
                f"`store` must be a folder or a URL that fsspec knows, but got {url!r}: {error}"
            ) from error
        self._root = f"{str(root).rstrip('/')}/{workspace}"
        self._cache = LocalPlace(cache)
        self.scratch = self._cache.scratch

    def __str__(self) -> str:
        return str(self._fs.unstrip_protocol(self._root))  # without the user and password of a URL

    def _blob(self, sha: str) -> str:
        return f"{self._root}/blobs/{sha[:2]}/{sha}"

    def _tree(self, sha: str) -> str:
        return f"{self._root}/trees/{sha}"

    def keep_blob(self, file: BinaryIO, sha: str) -> None:
        """See Place."""
        file.flush()
        if not self.has_blob(sha):
            self._upload(lock_path(file), self._blob(sha))

    def _upload(self, source: Path, target: str) -> None:
        beside = f"{self._root}/tmp/{secrets.token_hex(8)}"
        with self._telling("written"):
            self._fs.makedirs(beside.rpartition("/")[0], exist_ok=True)
            self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
            self._fs.put_file(str(source), beside)
            self._fs.mv(beside, target)

    def open_blob(self, sha: str) -> BinaryIO:
        """See Place."""
        return cast("BinaryIO", self._fs.open(self._blob(sha), "rb"))

    def has_blob(self, sha: str) -> bool:
        """See Place."""
        return self._exists(self._blob(sha))

    def _exists(self, path: str) -> bool:
        with self._telling("read"):
            self._fs.invalidate_cache()  # another machine may have written it meanwhile
            return bool(self._fs.exists(path))

    def keep_tree(self, folder: Path, files: Mapping[str, str], sha: str) -> None:
        """See Place."""
        if self.has_tree(sha):
            return
        with self._telling("written"):
            for name in sorted(files):
                target = f"{self._tree(sha)}/{name}"
                self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(folder / name), target)
        for name, expected in files.items():
            if hash_file(folder / name) != expected:
                raise StoreError(f"`{folder / name}` changed while it was published.", "Publish it again, unchanged.")
        with self.scratch.file("manifest") as file:
            file.write(canonical(dict(files)))
            file.flush()
            self._upload(lock_path(file), f"{self._tree(sha)}.json")

    def tree(self, sha: str) -> Path:
        """See Place. Downloaded once, verified, then kept in the cache."""
        if not self.has_tree(sha):
            raise FileNotFoundError(errno.ENOENT, "no such tree", sha)
        if not self._cache.has_tree(sha):
            with self.scratch.folder("fetch") as room:
                self._download(sha, room / "tree")
        return self._cache.tree(sha)

    def _download(self, sha: str, folder: Path) -> None:
        with self._telling("read"):
            files: dict[str, Any] = json.loads(self._fs.cat_file(f"{self._tree(sha)}.json"))
            for name in files:
                target = folder / name
                if not target.resolve().is_relative_to(folder.resolve()):
                    raise StoreError(f"Tree {sha} names `{name}`, which lies outside of it.", "It was tampered with.")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(f"{self._tree(sha)}/{name}", str(target))
        folder.mkdir(exist_ok=True)  # a tree without files
        found = hash_tree(folder)
        if tree_sha(found) != sha:
            raise StoreError(f"Tree {sha} in `{self}` is damaged: its files do not have the hashes of its manifest.")
        self._cache.keep_tree(folder, found, sha)

    def has_tree(self, sha: str) -> bool:
        """See Place."""
        return self._exists(f"{self._tree(sha)}.json")

    def drop(self, sha: str) -> bool:
        """See Place. The manifest goes first, so that no one sees half a tree."""
        found = False
        for path in (f"{self._tree(sha)}.json", self._tree(sha), self._blob(sha)):
            if self._exists(path):
                with self._telling("removed"):
                    self._fs.rm(path, recursive=True)
                found = True
        self._cache.drop(sha)
        return found

    @contextlib.contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"The store `{self}` could not be {done}: {error}.",
                "Check that it is reachable, has space and lets you write; then run the same again.",
            ) from error
