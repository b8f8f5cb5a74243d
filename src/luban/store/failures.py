"""What a database's error means to a person: what happened to the ledger, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from luban.errors import StoreError
from luban.store.durable import refusal

_AS_ERRNO = {
    "SQLITE_FULL": errno.ENOSPC,
    "SQLITE_IOERR_WRITE": errno.EFBIG,
    "SQLITE_READONLY": errno.EROFS,
    "SQLITE_PERM": errno.EACCES,
}
_SAYS = {
    "SQLITE_BUSY": (
        "another process has been writing to it for too long",
        "Wait until it has finished, or end it; then run the same again.",
    ),
    "SQLITE_CANTOPEN": ("it cannot be opened", "Check that its folder exists and that this user may write there."),
    "SQLITE_CORRUPT": ("its file is damaged", "Restore it from a backup; published trees and blobs are not affected."),
    "SQLITE_NOTADB": ("the file is not a ledger", "Point to the right file, or move this one away."),
    "SQLITE_IOERR": ("the disk refuses to read or write", "Check the disk, its free space and limits on file sizes."),
}


def explain(error: DBAPIError, url: str, file: str | None) -> StoreError | None:
    """A StoreError that says what to do, or None if the error is a programmer's."""
    if isinstance(error, IntegrityError | ProgrammingError):
        return None
    name = str(getattr(error.orig, "sqlite_errorname", ""))
    if file is not None and (number := _AS_ERRNO.get(name) or _AS_ERRNO.get("_".join(name.split("_")[:2]))):
        return refusal("the ledger", Path(file).absolute().parent, number)
    for known in (name, "_".join(name.split("_")[:2])):
        if known in _SAYS:
            what, hint = _SAYS[known]
            return StoreError(f"The ledger `{url}` cannot be used: {what}.", hint)
    return StoreError(
        f"The ledger `{url}` cannot be used: {str(error.orig).strip()}", "Check that it is reachable, then try again."
    )
