"""Unpacking archives that nobody vouches for: .tar.*, .tgz, .zip, .whl and .deb.

Decided here: a member that would land outside the folder, a link, a device, or more than 16 GB in all is
refused; modes and owners of the archive are not taken over. A Debian package is unpacked by `dpkg-deb` to
a tar stream, which is then judged like any other; its links, which are common there, are left out.
This module does not know where archives come from or where they are kept.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from luban.errors import DataError

MAX_BYTES = 16 * 10**9


def unpack(archive: Path, folder: Path) -> None:
    """Unpack `archive` into `folder`. Raises DataError for a member that is not safe, or a damaged archive."""
    room = _Room(archive.name, folder)
    try:
        if archive.suffix == ".deb":
            _unpack_deb(archive, room)
        elif archive.suffix in (".zip", ".whl"):
            with zipfile.ZipFile(archive) as opened:
                _unpack_zip(opened, room)
        else:
            with tarfile.open(archive) as opened:
                _unpack_tar(opened, room, links_left_out=False)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"The archive `{archive.name}` is damaged: {error}.", "Delete it and fetch it again."
        ) from error


def top_folder(folder: Path) -> Path:
    """The single folder that all of an archive lies in, or the folder itself."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


class _Room:
    """The folder that members land in, and how much it still takes."""

    def __init__(self, archive: str, folder: Path) -> None:
        self.archive = archive
        self.folder = folder
        self.left = MAX_BYTES

    def path(self, member: str) -> Path:
        """Where `member` lands. Raises DataError if that is outside."""
        pure = PurePosixPath(member.replace("\\", "/"))
        if pure.is_absolute() or ".." in pure.parts or (pure.parts and pure.parts[0].endswith(":")):
            raise self.refused(member, "would land outside the folder that it is unpacked to")
        return self.folder / pure

    def take(self, member: str, stream: IO[bytes]) -> None:
        """Write one member, counting what really comes rather than what the archive claims."""
        path = self.path(member)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise self.refused(member, "stands in it twice")
        with path.open("xb") as out:
            while chunk := stream.read(1 << 20):
                self.left -= len(chunk)
                if self.left < 0:
                    raise self.refused(member, f"makes it larger than {MAX_BYTES // 10**9} GB")
                out.write(chunk)

    def refused(self, member: str, why: str) -> DataError:
        return DataError(
            f"The archive `{self.archive}` is refused: its member `{member}` {why}.",
            "Do not use this package, or unpack it yourself and read the files from a folder.",
        )


def _unpack_tar(archive: tarfile.TarFile, room: _Room, links_left_out: bool) -> None:
    for member in archive:
        if member.isdir():
            room.path(member.name)
        elif member.isreg():
            stream = archive.extractfile(member)
            assert stream is not None
            room.take(member.name, stream)
        elif not (links_left_out and (member.issym() or member.islnk())):
            raise room.refused(member.name, "is a link or a device")


def _unpack_zip(archive: zipfile.ZipFile, room: _Room) -> None:
    for member in archive.infolist():
        kind = member.external_attr >> 28  # the upper bits of a Unix mode; 0 where made elsewhere
        if kind == 0o12:
            raise room.refused(member.filename, "is a link")
        if member.is_dir():
            room.path(member.filename)
            continue
        with archive.open(member) as stream:
            room.take(member.filename, stream)


def _unpack_deb(archive: Path, room: _Room) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise DataError("Unpacking a Debian package needs the program `dpkg-deb`, which is not found.", "Install dpkg.")
    with subprocess.Popen([program, "--fsys-tarfile", str(archive)], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        with tarfile.open(fileobj=running.stdout, mode="r|") as opened:
            _unpack_tar(opened, room, links_left_out=True)
        running.stdout.read()
    if running.returncode:
        raise DataError(f"The archive `{archive.name}` is damaged: dpkg-deb ended with {running.returncode}.")
