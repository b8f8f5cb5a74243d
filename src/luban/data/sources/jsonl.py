"""JSON Lines, and arrays of objects in a .json file.

Decided here: columns are all keys that stand anywhere, in the order they first appear, so the files are read
twice, as a stream: once for keys and types, once for rows; a key that a row lacks is null. Nested values are
strings of JSON. A line that is no object is a reject. A damaged array is refused, because
what follows the damage cannot be told apart. NaN and Infinity, which Python writes, are read as numbers.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import orjson

from luban import catalog
from luban.data.sources.base import RawBatch, Reject, moved
from luban.data.sources.cells import Columns, batch_of
from luban.data.sources.encoding import encoding_of, open_utf8
from luban.data.sources.path import PathSource
from luban.data.sources.place import CHUNK_BYTES, READ_ERRORS, Place, unreadable
from luban.errors import DataError

MAX_CHUNK_BYTES = 1 << 24
OBSERVED_ROWS = 4096
_LONG_NUMBER = re.compile(rb"\d{19}")
_DECODE = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonLines(PathSource):
    """One file of JSON Lines, or of one JSON array of objects."""

    class Config(catalog.Config):
        """Where it lies."""

        path: str
        """File, or any fsspec URL, relative to the project file."""

    config: Config

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        """All rows, each column of one type."""
        return read_jsonl(self.places(), batch_rows)


def read_jsonl(places: list[Place], batch_rows: int) -> Iterator[RawBatch]:
    """Rows of files of JSON objects, one after another, with the columns of all of them."""
    columns = Columns()
    for place in places:
        _observe(place, columns)
    schema = columns.schema
    seen = 0  # rows and rejects of the files before
    for place in places:
        here = 0
        for rows, rejects in _chunks(place, batch_rows):
            here += len(rows) + len(rejects)
            values = [[row.get(name) for row in rows] for name in schema.names]
            yield RawBatch(batch_of(values, schema), moved(rejects, seen))
        seen += here


def _observe(place: Place, columns: Columns) -> None:
    """Take note of keys and types; raises DataError where there is no row."""
    first: Reject | None = None
    found = False
    for rows, rejects in _chunks(place, OBSERVED_ROWS):
        first = first or next(iter(rejects), None)
        found = found or bool(rows)
        for name in dict.fromkeys(key for row in rows for key in row):
            columns.observe(name, [row.get(name) for row in rows])
    if not found:
        why = f" The first that is none: {first.where}: {first.reason}." if first else ""
        raise DataError(f"`{place.shown}` holds no rows.{why}", "Give one JSON object a line, or an array of objects.")


def _chunks(place: Place, max_rows: int) -> Iterator[tuple[list[dict[str, Any]], list[Reject]]]:
    """Rows and rejects, in order, as many as fit a batch."""
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    size = 0
    for position, (found, length) in enumerate(_items(place)):
        if isinstance(found, Reject):
            rejects.append(replace(found, position=position))
        else:
            rows.append(found)
        size += length
        if len(rows) >= max_rows or size >= MAX_CHUNK_BYTES:
            yield rows, rejects
            rows, rejects, size = [], [], 0
    if rows or rejects:
        yield rows, rejects


Item = tuple[dict[str, Any] | Reject, int]
"""A row, or what is none; and how long its text is."""


def _items(place: Place) -> Iterator[Item]:
    encoding = encoding_of(place)
    try:
        with open_utf8(place, encoding) as stream:
            array = _begins_with_bracket(stream)
        with open_utf8(place, encoding) as stream:
            yield from _array(stream, place) if array else _lines(stream, place)
    except READ_ERRORS as error:
        raise unreadable(place, error) from error


def _begins_with_bracket(stream: IO[bytes]) -> bool:
    while chunk := stream.read(CHUNK_BYTES):
        if chunk := chunk.lstrip():
            return chunk[:1] == b"["
    return False


def _lines(stream: IO[bytes], place: Place) -> Iterator[Item]:
    for number, line in enumerate(stream, 1):
        if line := line.strip():
            yield _object(line, f"{place.name}, line {number}"), len(line)


def _object(line: bytes, where: str) -> dict[str, Any] | Reject:
    try:
        found = json.loads(line) if _LONG_NUMBER.search(line) else orjson.loads(line)
    except ValueError:  # perhaps NaN, which orjson does not take
        try:
            found = json.loads(line)
        except ValueError as error:
            return Reject(where, line.decode("utf-8"), f"is not JSON: {error}")
    return _checked(found, line.decode("utf-8"), where)


def _checked(found: Any, raw: str, where: str) -> dict[str, Any] | Reject:
    """The object, or why it is no row."""
    if not isinstance(found, dict):
        return Reject(where, raw, f"is not an object, but a {_WORDS[type(found)]}")
    if "\\ud" in raw or "\\uD" in raw:  # half of a pair of surrogates is valid JSON, and no text
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return Reject(where, raw, "holds half of a character (a lone surrogate)")
    return found


_WORDS: dict[type, str] = {
    list: "list",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _array(stream: IO[bytes], place: Place) -> Iterator[Item]:
    """Items of one array, each decoded as soon as it is whole."""
    text = _Text(stream)
    whole = 0
    try:
        text.take("[")
        while text.peek() != "]" or whole:
            found, raw = text.value()
            whole += 1
            yield _checked(found, raw, f"{place.name}, item {whole}"), len(raw)
            if text.peek() == "]":
                break
            text.take(",")
    except ValueError as error:
        raise DataError(
            f"`{place.shown}` is not a JSON array: after item {whole}: {error}.",
            "Repair it, or write one object a line.",
        ) from error


class _Text:
    """Text that is read on when a value is not whole yet."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._ended = False

    def _more(self) -> bool:
        """Read on, twice as far as is pending, so that a long value costs no more than twice its length."""
        if self._ended:
            return False
        chunk = self._stream.read(max(CHUNK_BYTES, len(self._text) - self._at))
        self._ended = not chunk
        self._text = self._text[self._at :] + self._decoder.decode(chunk, final=self._ended)
        self._at = 0
        return True

    def peek(self) -> str:
        """The next character that is not white space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Pass over `character`. Raises ValueError if another stands there."""
        found = self.peek()
        if found != character:
            raise ValueError(
                f"`{character}` is expected, but {'the file ends' if not found else f'`{found}` stands there'}"
            )
        self._at += 1

    def value(self) -> tuple[Any, str]:
        """The next value and its text. Raises ValueError if it is damaged."""
        self.peek()
        while True:
            try:
                found, end = _DECODE(self._text, self._at)
                if end < len(self._text) or not self._more():  # else a number may go on in what is not read yet
                    raw, self._at = self._text[self._at : end], end
                    return found, raw
            except ValueError:
                if not self._more():
                    raise
