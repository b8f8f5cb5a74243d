"""Package indexes: fetching one pinned archive with the ordinary client, and the cache of what was fetched.

Decided here: the client is the one people use (pip, npm, apt-get), so that proxies, mirrors and credentials are
those already set up; it writes to a folder of its own, the archive's SHA-256 is taken, and only an archive
that has the pinned one is unpacked, beside, and renamed into the cache. So the cache holds whole verified packages or
nothing, and two processes that fetch the same do no harm. While it downloads, pip runs a source archive's own build
back end to read its metadata; pip is therefore always given a hash, which it checks before that: the
pinned one, or else one that nothing has, so that no code of an unpinned archive runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from luban.data.sources.archive import top_folder, unpack
from luban.errors import DataError, StoreError

FETCH_TIMEOUT_S = 900
NO_ARCHIVE_HAS_THIS = "0" * 64
_PIP_FOUND = re.compile(r"\bGot\s+([0-9a-f]{64})\b")


class Index(Enum):
    """Where packages come from."""

    PYPI = "pypi"
    NPM = "npm"
    DEBIAN = "debian"


@dataclass(frozen=True)
class Pin:
    """One archive of one version of one package."""

    index: Index
    name: str
    version: str
    artifact: str
    sha256: str | None

    def __str__(self) -> str:
        return f"{self.index.value} package {self.name} {self.version}"


def cache_folder() -> Path:
    """`LUBAN_CACHE`, or `~/.cache/luban`."""
    return Path(os.environ.get("LUBAN_CACHE") or Path.home() / ".cache" / "luban")


def cached(pin: Pin) -> Path | None:
    """The folder of the package's files, if it was fetched before."""
    place = _place(pin) / (pin.sha256 or "unpinned")
    return _inside(pin, place) if place.is_dir() else None


def _place(pin: Pin) -> Path:
    return cache_folder() / "packages" / pin.index.value / quote(pin.name, safe="@") / quote(pin.version, safe="")


def fetched(pin: Pin) -> Path:
    """The folder of the package's files, below the archive's single top folder.

    Raises DataError if there is no `sha256` to verify against or another one is found, if the client is missing or
    fails; StoreError if the cache cannot be written.
    """
    place = _place(pin)
    if (ready := cached(pin)) is not None:
        return ready
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place) as beside:
            return _inside(pin, _publish(pin, Path(beside), place))
    except OSError as error:
        raise StoreError(
            f"The package cache `{place}` cannot be written: {error.strerror or error}.",
            "Make room or give access there, or set LUBAN_CACHE to another folder.",
        ) from error


def _inside(pin: Pin, folder: Path) -> Path:
    """Where members are named from: below the single top folder that PyPI and npm put all in; Debian's root."""
    return folder if pin.index is Index.DEBIAN else top_folder(folder)


def _publish(pin: Pin, beside: Path, place: Path) -> Path:
    """Fetch, verify, unpack beside, and rename into place."""
    downloads, files = beside / "download", beside / "files"
    downloads.mkdir()
    files.mkdir()
    archive = _CLIENTS[pin.index](pin, downloads)
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != pin.sha256:
        raise _not_pinned(pin, found, archive.name)
    unpack(archive, files)
    try:
        files.rename(place / pin.sha256)
    except OSError:
        if not (place / pin.sha256).is_dir():  # else another process was first, with the same files
            raise
    return place / pin.sha256


def _not_pinned(pin: Pin, found: str, archive: str) -> DataError:
    """The error for an archive that has another hash than the pinned one, or for which none is pinned."""
    if pin.sha256 is None:
        return DataError(
            f"`sha256` must be given for the {pin}, so that the data cannot change unseen.",
            f"The archive `{archive}` that came now has this one; add it if you trust it:\n  sha256: {found}",
        )
    return DataError(
        f"The {pin} is not the one that was pinned: `sha256` is {pin.sha256}, but `{archive}` has {found}.",
        "Nothing of it was kept. If the pin is wrong, correct it; if it was right, do not use this package.",
    )


def _run(pin: Pin, command: list[str], folder: Path, expect: re.Pattern[str] | None = None) -> str:
    """Run a client in `folder`; gives what it said of errors.

    Raises DataError with the end of that if it fails, unless it said what was to be `expect`ed.
    """
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=FETCH_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"The {pin} did not come within {FETCH_TIMEOUT_S} s.", f"Try it by hand: {shown}") from error
    if done.returncode and not (expect and expect.search(done.stderr)):
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise DataError(f"The {pin} cannot be fetched: `{shown}` ended with {done.returncode}.", said)
    return done.stderr


def _program(name: str, pin: Pin) -> str:
    found = shutil.which(name)
    if found is None:
        raise DataError(
            f"Fetching the {pin} needs the program `{name}`, which is not found.",
            f"Install {name}, or fetch the files yourself and read them from a folder.",
        )
    return found


def _only(folder: Path, pin: Pin) -> Path:
    """The one archive that a client left."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.endswith(".txt"))
    if len(found) != 1:
        raise DataError(f"Fetching the {pin} gave {len(found)} archives where one was expected.", "Report this.")
    return found[0]


def _pip(pin: Pin, folder: Path) -> Path:
    own = importlib.util.find_spec("pip") is not None  # some tools make environments without pip
    pip = [sys.executable, "-m", "pip"] if own else [_program("pip", pin)]
    kind = ["--no-binary", ":all:"] if pin.artifact == "sdist" else ["--only-binary", ":all:"]
    wanted = pin.sha256 or NO_ARCHIVE_HAS_THIS
    (folder / "requirements.txt").write_text(f"{pin.name}=={pin.version} --hash=sha256:{wanted}\n", "utf-8")
    command = [*pip, "download", "--no-deps", *kind, "--disable-pip-version-check"]
    said = _run(pin, [*command, "--quiet", "--dest", ".", "-r", "requirements.txt"], folder, expect=_PIP_FOUND)
    if found := _PIP_FOUND.search(said):
        raise _not_pinned(pin, found[1], f"{pin.name} ({pin.artifact})")
    return _only(folder, pin)


def _npm(pin: Pin, folder: Path) -> Path:
    _run(pin, [_program("npm", pin), "pack", f"{pin.name}@{pin.version}", "--silent"], folder)
    return _only(folder, pin)


def _apt(pin: Pin, folder: Path) -> Path:
    _run(pin, [_program("apt-get", pin), "download", "--quiet", f"{pin.name}={pin.version}"], folder)
    return _only(folder, pin)


_CLIENTS = {Index.PYPI: _pip, Index.NPM: _npm, Index.DEBIAN: _apt}
