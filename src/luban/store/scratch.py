"""Room for unfinished work: a `tmp` folder whose entries vanish with the process that made them.

Each entry is locked (`flock`) by its owner as long as that lives. The kernel drops the lock when the
process dies, however it dies and in whatever container, so a lock that can be had marks a leftover.
A folder `x` is locked through a file `x.lock`; a file by itself. Where there is no `flock` (Windows),
leftovers stay until someone removes them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from luban.store.durable import make_folder, remove, writing

_SUFFIX = ".lock"


class Scratch:
    """The `tmp` folder of one store on a local disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextlib.contextmanager
    def folder(self, prefix: str) -> Iterator[Path]:
        """A new empty folder, removed at the end with all that is left in it.

        What a full or read-only disk says to whoever fills it becomes a StoreError.
        """
        with self.file(prefix, suffix=_SUFFIX) as lock:
            made = lock_path(lock).with_suffix("")
            try:
                with writing("a working folder", self.root):
                    made.mkdir()
                with _filling(self.root):
                    yield made
            finally:
                remove(made)

    @contextlib.contextmanager
    def file(self, prefix: str, suffix: str = "") -> Iterator[BinaryIO]:
        """A new file open for writing, with its path as `name`; removed at the end unless it was renamed.

        Whoever wants its bytes kept flushes it first.
        """
        self.sweep()
        with writing("a working file", self.root):
            make_folder(self.root)
            file = self._locked_file(prefix, suffix)
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):  # who wanted the bytes has flushed them, and heard of a full disk
                file.close()
            lock_path(file).unlink(missing_ok=True)

    def _locked_file(self, prefix: str, suffix: str) -> BinaryIO:
        while True:
            path = self.root / f"{prefix}-{secrets.token_hex(8)}{suffix}"
            file = path.open("xb")
            # Between creation and lock a sweep may take it for a leftover: then it is gone, try another.
            if _lock(file.fileno()) and path.exists():
                return file
            file.close()

    def sweep(self) -> list[str]:
        """Remove what dead processes left, and say what that was."""
        swept = []
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else []:
            if path.is_file() and _sweep_one(path):
                swept.append(path.name.removesuffix(_SUFFIX))
        return swept


@contextlib.contextmanager
def _filling(root: Path) -> Iterator[None]:
    """What the disk of `root` refuses to take: errors without a file's name, or about a file below it."""
    try:
        yield
    except OSError as error:
        names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if name is not None]
        if names and not any(root in name.parents for name in names):
            raise
        with writing("a result", root):
            raise


def lock_path(file: BinaryIO) -> Path:
    """Where a working file lies."""
    return Path(os.fsdecode(file.name))


def _sweep_one(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # finished meanwhile, or not ours to touch
    try:
        if not _lock(descriptor, missing=False):
            return False
        if path.suffix == _SUFFIX:
            remove(path.with_suffix(""))
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False  # a read-only disk: nothing can be swept, and reading goes on
    finally:
        os.close(descriptor)


def _lock(descriptor: int, missing: bool = True) -> bool:
    """Whether the lock was had at once; `missing` is the answer where there are no locks."""
    try:
        import fcntl
    except ImportError:
        return missing
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
