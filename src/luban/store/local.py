"""Blobs and trees in a folder: written beside, synced, renamed, folder synced, read-only.

A tree is the published folder itself, renamed, so that fetching it copies nothing. Whoever finds a
name finds all of it, also after `kill -9` or a power failure between any two system calls.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from luban.store.durable import make_folder, protect, remove, sync_file, sync_folder, writing
from luban.store.place import Place
from luban.store.scratch import Scratch, lock_path


class LocalPlace(Place):
    """A folder on a local (or mounted) disk. Made when first written to."""

    moves = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = Scratch(root / "tmp")

    def __str__(self) -> str:
        return str(self.root)

    def _blob(self, sha: str) -> Path:
        return self.root / "blobs" / sha[:2] / sha

    def _tree(self, sha: str) -> Path:
        return self.root / "trees" / sha

    def keep_blob(self, file: BinaryIO, sha: str) -> None:
        """See Place. Putting a known blob again changes nothing, or mends one of another size."""
        path = self._blob(sha)
        with writing("a blob", self.root):
            file.flush()
            make_folder(path.parent)
            if not (path.is_file() and path.stat().st_size == os.fstat(file.fileno()).st_size):
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
                lock_path(file).replace(path)
            sync_folder(path.parent)

    def open_blob(self, sha: str) -> BinaryIO:
        """See Place."""
        return self._blob(sha).open("rb")

    def has_blob(self, sha: str) -> bool:
        """See Place."""
        return self._blob(sha).is_file()

    def keep_tree(self, folder: Path, files: Mapping[str, str], sha: str) -> None:
        """See Place. `folder` lies in the scratch of this place, and is gone afterwards."""
        path = self._tree(sha)
        with writing("a folder", self.root):
            for name in files:
                sync_file(folder / name)
            for parent, _, _ in os.walk(folder):
                sync_folder(Path(parent))
            protect(folder)
            make_folder(path.parent)
            _rename_new(folder, path)
            path.chmod(0o555)
            sync_folder(path.parent)

    def tree(self, sha: str) -> Path:
        """See Place."""
        if not self.has_tree(sha):
            raise FileNotFoundError(errno.ENOENT, "no such tree", sha)
        return self._tree(sha)

    def has_tree(self, sha: str) -> bool:
        """See Place."""
        return self._tree(sha).is_dir()

    def drop(self, sha: str) -> bool:
        """See Place. A tree vanishes at once: it is moved away first, then deleted."""
        found = False
        with writing("a removal", self.root):
            if self._tree(sha).is_dir():
                with self.scratch.folder("drop") as room, contextlib.suppress(FileNotFoundError):
                    self._tree(sha).chmod(0o755)
                    self._tree(sha).rename(room / sha)
                    sync_folder(self._tree(sha).parent)
                    found = True
            if self._blob(sha).is_file():
                self._blob(sha).unlink(missing_ok=True)
                sync_folder(self._blob(sha).parent)
                found = True
        return found


def _rename_new(folder: Path, path: Path) -> None:
    """Rename, unless the same tree is there already: then this copy goes."""
    try:
        if path.is_dir():
            raise FileExistsError(errno.EEXIST, "published before", str(path))
        folder.rename(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        remove(folder)
