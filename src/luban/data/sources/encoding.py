"""Which encoding a text file is in, and its bytes as UTF-8.

Decided here: UTF-16 needs its byte order mark; a file that is UTF-8 to its last byte is UTF-8; one
that is not is GB18030 if it is that to its last byte and looks like it, and else is refused with the
byte offset. The whole file is looked at, as a stream, before the first row is given, because a file
often turns Chinese only after a megabyte of ASCII. What "looks like it" means: GB18030 takes nearly
any bytes, so damaged UTF-8 (more characters good than bad) and Western text (the second byte of
most pairs is ASCII) are refused rather than read as wrong characters.

This module knows bytes and characters, no format and no rows.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from typing import IO

from luban.data.sources.place import CHUNK_BYTES, READ_ERRORS, Place, unreadable
from luban.errors import DataError

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_FOUND: dict[tuple[str, str, str | None], str] = {}
_SECOND_BYTES_OF_ASCII = bytes(range(0x40, 0x7F))
_ASCII = re.compile("[\x00-\x7f]+")
ENOUGH_CHARACTERS = 100_000


def known_encoding(name: str | None) -> str | None:
    """Validates a config field. Raises ValueError for a codec that Python does not know."""
    if name is None:
        return None
    try:
        return codecs.lookup(name).name
    except LookupError as error:
        raise ValueError(
            f"must be the name of an encoding such as utf-8, gb18030 or cp1252, but got {name!r}"
        ) from error


def encoding_of(place: Place, asked: str | None = None) -> str:
    """`utf-8`, `gb18030` or `utf-16`, or `asked` if the file is in it to its last byte.

    Raises DataError with a byte offset if the file is in none of them (not in `asked`).
    """
    key = (place.shown, place.state(), asked)
    if key not in _FOUND:
        try:
            _FOUND[key] = _asked(place, asked) if asked else _detect(place)
        except READ_ERRORS as error:
            raise unreadable(place, error) from error
    return _FOUND[key]


def _asked(place: Place, asked: str) -> str:
    bad_at = _first_bad(place.open, asked)
    if bad_at is None:
        return asked
    raise DataError(
        f"`{place.shown}` is not {asked}: it cannot be read at byte {bad_at}.",
        "Leave `encoding` out to have it found, or repair the file.",
    )


def _detect(place: Place) -> str:
    with place.open() as stream:
        if stream.read(2) in UTF16_MARKS:
            return _asked(place, "utf-16")
    bad_at = _first_bad(place.open, "utf-8")
    if bad_at is None:
        return "utf-8"
    advice = "Save it as UTF-8, repair that byte, or set `encoding` (for Western files, cp1252)."
    if _mostly_utf8(place.open):
        raise DataError(f"`{place.shown}` is UTF-8 that is damaged at byte {bad_at}.", advice)
    other_at = _first_bad(place.open, "gb18030")
    if other_at is not None:
        message = f"is neither UTF-8 (wrong at byte {bad_at}) nor GB18030 (wrong at byte {other_at})"
        raise DataError(f"`{place.shown}` {message}.", advice)
    if not _looks_chinese(place.open):
        raise DataError(
            f"`{place.shown}` is not UTF-8 (wrong at byte {bad_at}) and does not look like GB18030.", advice
        )
    return "gb18030"


def _first_bad(opener: Callable[[], IO[bytes]], encoding: str) -> int | None:
    """Offset of the first byte that is not of `encoding`, or None."""
    decoder = codecs.getincrementaldecoder(encoding)()
    seen = 0
    with opener() as stream:
        while True:
            chunk = stream.read(CHUNK_BYTES)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # error.object is what was held back from the chunk before, and this chunk.
                return seen + len(chunk) - len(error.object) + error.start
            if not chunk:
                return None
            seen += len(chunk)


def _mostly_utf8(opener: Callable[[], IO[bytes]]) -> bool:
    """Whether of the first characters beyond ASCII more than two thirds are whole in UTF-8."""
    characters = 0
    replaced = 0
    for text in _beyond_ascii(opener, "utf-8"):
        replaced += text.count("\ufffd")
        characters += len(text)
    return 3 * replaced < characters


def _looks_chinese(opener: Callable[[], IO[bytes]]) -> bool:
    """Whether of the first characters beyond ASCII at most half have an ASCII letter as second byte."""
    characters = ascii_second = 0
    for text in _beyond_ascii(opener, "gb18030"):
        encoded = text.encode("gb18030", "ignore")
        ascii_second += len(encoded) - len(encoded.translate(None, _SECOND_BYTES_OF_ASCII))
        characters += len(text)
    return 2 * ascii_second <= characters


def _beyond_ascii(opener: Callable[[], IO[bytes]], encoding: str) -> Iterator[str]:
    """The first characters beyond ASCII, enough to judge by, chunk by chunk; U+FFFD for what is none."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    left = ENOUGH_CHARACTERS
    with opener() as stream:
        while left > 0 and (chunk := stream.read(CHUNK_BYTES)):
            text = _ASCII.sub("", decoder.decode(chunk))[:left]
            left -= len(text)
            yield text


def open_utf8(place: Place, encoding: str) -> IO[bytes]:
    """The file's bytes as UTF-8 without a byte order mark, in bounded memory."""
    stream = place.open()
    if encoding != "utf-8":
        return io.BufferedReader(_Transcoded(stream, encoding), CHUNK_BYTES)
    buffered = io.BufferedReader(stream, CHUNK_BYTES)  # type: ignore[type-var]
    if buffered.peek(3)[:3] == codecs.BOM_UTF8:
        buffered.read(3)
    return buffered


class _Transcoded(io.RawIOBase):
    """A stream of bytes in one encoding as a stream of UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`; 0 at the end."""
        while not self._ready and not self._ended:
            chunk = self._stream.read(CHUNK_BYTES)
            self._ended = not chunk
            self._ready = self._decoder.decode(chunk, final=self._ended).encode("utf-8")
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        """Close the stream beneath too."""
        self._stream.close()
        super().close()
