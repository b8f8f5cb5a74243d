"""Unfinished work that outlives its process: what a training run has so far, for the next one to go on from.

One file for each result key, in `unfinished/` beside the store's other folders, on a local disk also where
the store itself is remote. Decided here: a write is whole or not at all (beside, synced, renamed); it is
removed when its result is recorded; what nobody has touched for `KEPT_S` is swept when another is read.
Knows nothing of what is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from pathlib import Path

from luban.store.durable import make_folder, sync_file, sync_folder, writing
from luban.store.scratch import Scratch, lock_path

KEPT_S = 7 * 24 * 3600


class Unfinished:
    """The place of one result key. Threads of one process must not write it at once; processes may."""

    def __init__(self, root: Path, scratch: Scratch, key: str) -> None:
        self._scratch = scratch
        self.path = root / hashlib.sha256(key.encode()).hexdigest()

    def read(self) -> bytes | None:
        """What was written last, by this process or an earlier one; None where nothing was."""
        self._sweep()
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, data: bytes) -> None:
        """Replace what is kept. Raises StoreError where the disk refuses it; the old bytes are then still there."""
        with self._scratch.file("unfinished") as file, writing("a checkpoint", self.path.parent):
            file.write(data)
            file.flush()
            sync_file(lock_path(file))
            make_folder(self.path.parent)
            lock_path(file).replace(self.path)
            sync_folder(self.path.parent)

    def remove(self) -> None:
        """Forget it: the work is finished."""
        with writing("a removal", self.path.parent):
            self.path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        before = time.time() - KEPT_S
        for path in self.path.parent.iterdir() if self.path.parent.is_dir() else ():
            with contextlib.suppress(OSError):  # a read-only disk, or another process was faster: reading goes on
                if path != self.path and path.stat().st_mtime < before:
                    path.unlink()
