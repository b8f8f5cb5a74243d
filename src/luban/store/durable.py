"""Writing so that a crash at any instant leaves the old state or the new one, never half of it.

Bytes are written beside, synced, renamed, and the folder synced. `writing` turns what a disk says
(full, read-only, forbidden, too large) into a StoreError that says what to do. Knows no blobs, no SQL.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from luban.errors import StoreError

CHUNK_BYTES = 1 << 20

_SAYS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "the file would be larger than allowed here",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "it is not permitted",
    errno.EIO: "the disk reports a failure",
}
_HINTS = {
    errno.ENOSPC: "Free some space or use a larger disk; then run the same again: it goes on from there.",
    errno.EDQUOT: "Free some space or raise the quota; then run the same again: it goes on from there.",
    errno.EFBIG: "Raise the limit on file sizes (`ulimit -f`); then run the same again: it goes on from there.",
    errno.EROFS: "Keep the state in a folder that can be written, or remount the disk for writing.",
    errno.EACCES: "Give this user the right to write there, or keep the state in another folder.",
    errno.EPERM: "Give this user the right to write there, or keep the state in another folder.",
    errno.EIO: "Check the disk before anything else is written to it.",
}


@contextlib.contextmanager
def writing(what: str, where: Path) -> Iterator[None]:
    """Turn a disk's refusal in the body into a StoreError about `what` ("the blob") at `where`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _SAYS:
            raise
        raise refusal(what, where, error.errno) from error


def refusal(what: str, where: Path, number: int) -> StoreError:
    """The error for an errno: what could not be written, why, what is left and what to do."""
    return StoreError(
        f"{what[:1].upper()}{what[1:]} could not be written in `{where}`: {_SAYS[number]} ({free_space(where)}).",
        _HINTS[number],
    )


def free_space(where: Path) -> str:
    """For messages: `1.2 GB free`, of the disk that holds `where` or its nearest existing parent."""
    for folder in (where, *where.parents):
        with contextlib.suppress(OSError):
            return f"{readable(shutil.disk_usage(folder).free)} free"
    return "free space unknown"


def readable(num_bytes: int) -> str:
    """Bytes for people, in powers of ten.

    >>> readable(1_234_567)
    '1.2 MB'
    """
    size, unit = float(num_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{num_bytes} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk, so that a rename in it outlives a power failure."""
    _sync(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and its parents, each synced into its parent."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def protect(folder: Path) -> None:
    """Make everything below `folder` read-only; `folder` itself stays writable, so that it can be renamed."""
    for parent, _, files in os.walk(folder):
        for name in files:
            (Path(parent) / name).chmod(0o444)
        if Path(parent) != folder:
            Path(parent).chmod(0o555)


def remove(path: Path) -> None:
    """Remove a file or folder, also a read-only one; nothing if it is not there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for parent, _, _ in os.walk(path):
        Path(parent).chmod(stat.S_IRWXU)
    shutil.rmtree(path)
