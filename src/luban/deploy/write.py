"""Writing a target's files into a folder, and what is found there already.

`luban-deploy.json` lists the files that were written, with their hashes. So a file that a person changed
is known: nothing is written then, the files are named, and `force` writes all the same, with the old one kept
beside as `.before`. What was written once and is not any more is removed if nobody changed it. Knows no target.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from luban.deploy.base import BUNDLE, File
from luban.errors import ConfigError
from luban.store.durable import writing
from luban.store.place import hash_file, hash_tree, tree_sha

LIST = "luban-deploy.json"
BEFORE = ".before"


@dataclass(frozen=True)
class Written:
    """What became of the files: paths below the folder, sorted."""

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    removed: tuple[str, ...]


def write(folder: Path, files: Sequence[File], bundle: Path | None = None, force: bool = False) -> Written:
    """Write the files below `folder`, and a copy of `bundle` into `folder/bundle`; all or, where a person changed
    one, none. Raises ConfigError with the names of those, StoreError where the disk refuses.
    """
    wanted = {file.path: file for file in files}
    if len(wanted) != len(files) or not all(map(_is_below, wanted)):
        raise AssertionError(f"a target's paths must differ and lie below its folder: {[file.path for file in files]}")
    known = _read_list(folder)
    old = {path for path in known.keys() - wanted.keys() if path != BUNDLE or bundle is None}
    changed = sorted(path for path in {*wanted, *old} if _is_changed(folder / path, known.get(path), wanted.get(path)))
    if bundle is not None and _bundle_changed(folder / BUNDLE, known.get(BUNDLE)):
        changed.append(BUNDLE)
    if changed and not force:
        raise ConfigError(
            f"These were changed by hand in `{folder}`, so nothing is written: {', '.join(changed)}.",
            f"Move them away, or say --force: each is kept beside its successor as NAME{BEFORE}.",
        )
    with writing("the files", folder):
        return _write_all(folder, wanted, old, bundle, changed)


def _write_all(
    folder: Path, wanted: dict[str, File], old: set[str], bundle: Path | None, changed: list[str]
) -> Written:
    for path in changed:
        _set_aside(folder / path)
    written = [path for path, file in sorted(wanted.items()) if _write_one(folder / path, file)]
    removed = sorted(path for path in old if (folder / path).exists())
    for path in removed:
        _remove(folder / path)
    hashes = {path: hash_file(folder / path) for path in wanted}
    if bundle is not None:
        hashes[BUNDLE] = tree_sha(hash_tree(bundle))
        if _copy(bundle, folder / BUNDLE, hashes[BUNDLE]):
            written.append(BUNDLE)
    text = json.dumps({"files": dict(sorted(hashes.items()))}, indent=1) + "\n"
    _write_one(folder / LIST, File(LIST, text))
    return Written(folder, tuple(written), tuple(sorted({*hashes} - {*written})), tuple(removed))


def _is_below(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and path not in (LIST, BUNDLE)


def _read_list(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / LIST).read_text("utf-8"))["files"]
        return {str(path): str(sha) for path, sha in found.items() if path == BUNDLE or _is_below(str(path))}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"`{folder / LIST}` cannot be read, so it is not known what was changed by hand.",
            "Name another folder with --to, or remove this one.",
        ) from error


def _is_changed(path: Path, known: str | None, wanted: File | None) -> bool:
    """Whether a file is there that we did not write so, and do not want so."""
    if not path.exists() or path.is_dir():
        return path.is_dir() and wanted is not None
    if wanted is not None and path.read_bytes() == wanted.text.encode():
        return False
    return known is None or hash_file(path) != known


def _bundle_changed(folder: Path, known: str | None) -> bool:
    return folder.exists() and (known is None or not folder.is_dir() or tree_sha(hash_tree(folder)) != known)


def _write_one(path: Path, file: File) -> bool:
    """Write a file whole; whether that changed anything."""
    mode = 0o755 if file.executable else 0o644
    data = file.text.encode()
    if path.is_file() and path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(data)
    beside.chmod(mode)
    beside.replace(path)
    return True


def _set_aside(path: Path) -> None:
    if path.exists():
        aside = path.with_name(path.name + BEFORE)
        _remove(aside)
        path.rename(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # folders that are not empty stay
        path.parent.rmdir()


def _copy(bundle: Path, folder: Path, sha: str) -> bool:
    """Put a copy of the bundle at `folder`, in place of what is there; whether that changed anything."""
    if folder.is_dir() and tree_sha(hash_tree(folder)) == sha:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.copytree(bundle, beside, copy_function=shutil.copyfile)
    for path in (beside, *beside.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if folder.exists():
        shutil.rmtree(folder)
    beside.rename(folder)
    return True
