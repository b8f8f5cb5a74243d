"""The file that a sink writes: beside the path it is for, synced and renamed when it is whole.

Decided here: the file beside is hidden and has a name of its own, so that two writers do no harm and the last
one wins; a URL is written to a temporary file and sent when it is whole; standard output is
written at once, because there is nothing to rename. This module knows no format.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec

from luban.errors import DataError, StoreError

STDOUT = "-"


class Output:
    """What is written for `path`; `file` is where the bytes go until `publish`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.remote = "://" in path
        final = Path(path).expanduser().absolute()
        folder = Path(tempfile.gettempdir()) if self.remote else final.parent
        name = path.rpartition("/")[2] if self.remote else final.name
        self._final = final
        self.file = folder / f".{name}.{secrets.token_hex(6)}"
        if not self.remote and not folder.is_dir():
            raise DataError(f"There is no folder `{folder}` to write `{final.name}` to.", "Make it first.")
        if not self.remote and final.is_dir():
            raise DataError(f"The file to write must be a file, but `{final}` is a folder.", "Name a file in it.")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turns what the system raises into a StoreError; a closed pipe is left as it is."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            with suppress(OSError):  # a read-only disk refuses even to remove what is not there
                self.discard()
            reason = error.strerror or str(error)
            raise StoreError(
                f"`{self.path}` cannot be written: {reason}. Nothing is left of it.",
                "Make room or give access there, or write somewhere else.",
            ) from error

    def publish(self) -> None:
        """Make the whole file appear at the path."""
        with self.guarded():
            if self.remote:
                fs, inner = fsspec.core.url_to_fs(self.path)
                fs.put_file(str(self.file), inner)
                self.discard()
                return
            with self.file.open("rb") as written:
                os.fsync(written.fileno())
            self.file.replace(self._final)
            folder = os.open(self._final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Throw away what was written."""
        self.file.unlink(missing_ok=True)


class ByteOutput:
    """A stream of bytes to a path or to standard output."""

    def __init__(self, path: str) -> None:
        self._output = None if path == STDOUT else Output(path)
        self._stream: IO[bytes] = sys.stdout.buffer
        if self._output:
            with self._output.guarded():
                self._stream = self._output.file.open("xb", buffering=1 << 20)

    def write(self, chunk: bytes) -> None:
        """Append."""
        if self._output is None:
            self._stream.write(chunk)
            return
        with self._output.guarded():
            self._stream.write(chunk)

    def close(self, failed: bool) -> None:
        """Publish, or throw away."""
        if self._output is None:
            self._stream.flush()
        elif failed:
            close_quietly(self._stream)
            self._output.discard()
        else:
            with self._output.guarded():
                self._stream.close()
            self._output.publish()


def close_quietly(stream: Any) -> None:
    """Close what is thrown away: that its last bytes find no room is of no interest any more."""
    try:
        stream.close()
    except OSError:
        return


def no_stdout(path: str, kind: str) -> None:
    """Raises DataError if `path` is standard output, which `kind` cannot be written to."""
    if path == STDOUT:
        raise DataError(f"{kind} cannot be written to standard output.", "Name a file, or write CSV or JSON Lines.")
