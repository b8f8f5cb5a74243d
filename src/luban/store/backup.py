"""Backups of a project's state while it is in use, and the way back.

    <folder>/<time>/ledger.db      the ledger as it was at one instant (SQLite's online backup; writers go on)
    <folder>/<time>/store/         all published folders and blobs

Decided here: the ledger is copied first and the store after it, so that all that the ledger names is there; what is
published never changes, so a file that the backup before has is linked to, not copied again; a backup is seen under its
name only when it is whole and was checked. Unfinished work is left out. For a ledger on PostgreSQL and a store in
object storage there are better tools (pg_dump, versions of the bucket), which are named. Knows no model.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from luban.errors import StoreError
from luban.store.durable import make_folder, protect, remove, sync_folder, writing
from luban.store.home import Home
from luban.store.ledger import Ledger

LEDGER, STORE = "ledger.db", "store"
_LEFT_OUT = ("tmp", "unfinished")
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Backup:
    """One backup that was made or restored; `num_entries` of the audit trail were checked."""

    folder: Path
    num_trees: int
    num_entries: int
    removed: tuple[str, ...] = ()


def _make(to: Path) -> None:
    try:
        make_folder(to)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise StoreError(
            f"The folder for backups must be one that can be made, but `{to}` cannot: {error.strerror}.",
            "Name another folder.",
        ) from None


def back_up(home: Home, to: Path, keep: int) -> Backup:
    """Copy the state below `to`, under the time (UTC), and remove all backups but the newest `keep`.

    Raises StoreError where the state is not on this machine, where the copy is damaged, or the disk refuses.
    """
    ledger, store = _places(home)
    if not ledger.is_file():
        raise StoreError(f"There is no ledger at `{ledger}`, so there is nothing to back up.", "Name another project.")
    with writing("the backup", to), _private():
        _make(to.absolute())
        before = _backups(to)
        for left in to.glob(f"*{_PARTIAL}"):
            remove(left)
        name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        folder = to / f"{name}{_PARTIAL}"
        folder.mkdir()
        _copy_ledger(ledger, folder / LEDGER)
        num_trees = _copy_store(store, folder / STORE, before[-1] / STORE if before else None)
        num_entries = _checked(folder / LEDGER, home.ledger.workspace)
        os.sync()
        folder.rename(to / name)
        sync_folder(to)
        removed = [old for old in _backups(to)[:-keep] if old.name != name]
        for old in removed:
            remove(old)
    return Backup(to / name, num_trees, num_entries, tuple(old.name for old in removed))


def restore(backup: Path, home: Home) -> Backup:
    """Put a backup where `home` has its state, of which there must be none yet; then check all of it.

    What the disk refused halfway is removed again. Raises StoreError.
    """
    ledger, store = _places(home)
    if not (backup / LEDGER).is_file() or not (backup / STORE).is_dir() or backup.name.endswith(_PARTIAL):
        raise StoreError(f"`{backup}` is no backup.", f"Name a folder with `{LEDGER}` and `{STORE}` in it.")
    wanted = (ledger, *(store / one.name for one in (backup / STORE).iterdir()))
    there = [str(place) for place in wanted if place.exists()]
    if there:
        raise StoreError(
            f"A backup is restored where nothing is, but there is {', '.join(there)}.",
            "Stop the servers and move it away first.",
        )
    beside = ledger.with_name(f"{ledger.name}{_PARTIAL}")
    with writing("the state", store), _private():
        make_folder(ledger.absolute().parent)
        make_folder(store.absolute())
        try:
            num_trees = _copy_store(backup / STORE, store, None)
            _copy_ledger(backup / LEDGER, beside, at_rest=True)
            os.sync()
        except BaseException:
            for place in (beside, *wanted):
                remove(place)
            raise
        beside.rename(ledger)
        sync_folder(ledger.parent)
    return Backup(backup, num_trees, _checked(ledger, home.ledger.workspace))


def _places(home: Home) -> tuple[Path, Path]:
    """The ledger's file and the store's folder."""
    ledger = home.ledger.file
    if ledger is None:
        raise StoreError(
            "The ledger is on PostgreSQL, which has backups of its own.", "Use pg_dump or continuous archiving."
        )
    if "://" in home.store.url:
        raise StoreError(
            f"The store `{home.store.url}` is not on this machine.", "Turn versioning or replication of the bucket on."
        )
    return ledger, Path(home.store.url)


def _backups(to: Path) -> list[Path]:
    """Whole backups, oldest first: their names are times."""
    return sorted(path for path in to.iterdir() if (path / LEDGER).is_file() and not path.name.endswith(_PARTIAL))


def _copy_ledger(source: Path, target: Path, at_rest: bool = False) -> None:
    """SQLite's online backup in one step: one instant of the ledger, while others write.

    `at_rest`: nobody writes, so it can be read where nothing may be written beside it.
    """
    alone = at_rest and not source.with_name(f"{source.name}-wal").exists()
    uri = f"{source.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    try:
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=30)) as old,
            contextlib.closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            (said,) = new.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"The ledger `{source}` could not be copied: {error}.", "Keep the backups you have."
        ) from error
    if said != "ok":
        raise StoreError(f"The ledger `{source}` is damaged: {said}.", "Keep the backups you have; restore the newest.")


def _checked(ledger: Path, workspace: str) -> int:
    """Verify the audit trail of a copied ledger; how many entries it has."""
    copied = Ledger(ledger, workspace)
    try:
        copied.verify_audit()
        return len(copied.audit_entries(limit=2**31))
    finally:
        copied.close()


def _copy_store(source: Path, target: Path, before: Path | None) -> int:
    """Copy what is published; how many folders that were."""
    target.mkdir(exist_ok=True)
    num = 0
    for kind in _published(source):
        relative = kind.relative_to(source)
        for one in sorted(kind.iterdir()):
            known = before / relative / one.name if before is not None else None
            try:
                _copy(one, target / relative / one.name, known)
            except FileNotFoundError:
                if one.exists():
                    raise
                remove(target / relative / one.name)  # dropped while it was copied
            else:
                num += kind.name == "trees"
    return num


def _published(source: Path) -> Iterator[Path]:
    """The folders that hold trees and blobs, of all workspaces."""
    for workspace in sorted(source.iterdir()):
        if workspace.is_dir():
            yield from (kind for kind in sorted(workspace.iterdir()) if kind.is_dir() and kind.name not in _LEFT_OUT)


def _copy(source: Path, target: Path, before: Path | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_dir():
        _link_or_copy(source, target, before)
        return
    for folder, _, files in os.walk(source, onerror=_raise):  # copytree would go on with a full disk
        relative = Path(folder).relative_to(source)
        (target / relative).mkdir(parents=True, exist_ok=True)
        for name in files:
            known = None if before is None else before / relative / name
            _link_or_copy(Path(folder) / name, target / relative / name, known)
    protect(target)


def _raise(error: OSError) -> None:
    raise error


def _link_or_copy(source: Path, target: Path, before: Path | None) -> None:
    """A link to the same file of the backup before; else a copy."""
    if before is not None and before.is_file() and before.stat().st_size == source.stat().st_size:
        with contextlib.suppress(OSError):  # a disk without links, or too many of one file
            os.link(before, target)
            return
    shutil.copyfile(source, target)
    target.chmod(0o400)


@contextlib.contextmanager
def _private() -> Iterator[None]:
    """What is written is for its owner alone: rows may be in it."""
    old = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(old)
