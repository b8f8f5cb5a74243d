"""Forms (multipart/form-data, RFC 7578) as the body of `/v1/predict`: files as they are, without base64.

    curl URL/v1/predict -F image=@part.png -F line=7                                      one row
    curl URL/v1/predict -F 'rows=[{"image": {"file": "a"}}]' -F a=@part.png               several rows

Each part is named like a column: a part with a file name is that file, another is text. Where there is a part `rows`,
it is the JSON of all rows; a value `{"file": "name"}` in it stands for the file part of that name, and nothing else may
be sent beside but `options` (JSON) and `explain` (true or false), which any form may have.

Decided here: parts, their headers and the body have limits; bytes are parsed by python-multipart; nothing is written to
disk. A foreign page in a browser can send a form without being asked first, which it cannot do with JSON: a server
without keys does not answer it (`local.py`), and a key no page can add.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from luban.serve.http.asking import too_many
from luban.serve.http.problems import Problem
from luban.serve.question import Entry, Question

if TYPE_CHECKING:
    from luban.serve.http.wire import Request

MEDIA_TYPE = "multipart/form-data"
ROWS, OPTIONS, EXPLAIN = "rows", "options", "explain"
FILE = "file"
MAX_HEADERS, MAX_HEADER_BYTES, MAX_NAME = 8, 4096, 200
_TODO = "Send one part a column, files with a file name: curl -F image=@part.png; see /openapi.json."


@dataclass
class Part:
    """One part: its name, whether it has a file name, and its bytes."""

    name: str = ""
    is_file: bool = False
    data: bytearray = field(default_factory=bytearray)

    @cached_property
    def file(self) -> bytes:
        """The part as a file. Made once: many rows may name one file, which must not fill the memory so many times."""
        return bytes(self.data)

    @property
    def text(self) -> str:
        """The part as text. Raises Problem where it is not UTF-8."""
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _wrong(
                f"The part `{self.name}` is not UTF-8 at byte {error.start}; a file has a file name."
            ) from None


def is_form(request: Request) -> bool:
    """Whether a request's body is a form."""
    content_type = request.header("content-type")
    return content_type != "application/json" and content_type[: len(MEDIA_TYPE)].lower() == MEDIA_TYPE


def check_form(request: Request) -> None:
    """Raises Problem where the form is encoded."""
    coding = request.header("content-encoding")
    if coding.lower() not in ("", "identity"):
        raise Problem("not-json-type", f"The body must not be encoded, but got {coding[:80]}.", "Do not compress it.")


def read_form(content_type: str, body: bytes, entry: Entry, max_rows: int, max_parts: int) -> Question:
    """The question that a form asks. Raises Problem."""
    parts: dict[str, Part] = {}
    for part in _parts(content_type, body, max_parts):
        if part.name in parts:
            raise _wrong(f"The part `{part.name}` stands twice; several rows go into one part `rows`.")
        parts[part.name] = part
    options = parts.pop(OPTIONS, None)
    explain = parts.pop(EXPLAIN, None)
    rows = _named_rows(parts, max_rows) if ROWS in parts else [_one_row(parts)]
    question = Question(entry, rows, None if options is None else _json(options))
    if explain is not None:
        if explain.text not in ("true", "false"):
            raise _wrong(f"`{EXPLAIN}` must be true or false.")
        question.explain = explain.text == "true"
    return question


def _one_row(parts: dict[str, Part]) -> dict[str, Any]:
    if not parts:
        raise _wrong("The form has no part that is a column.")
    return {name: part.file if part.is_file else part.text for name, part in parts.items()}


def _named_rows(parts: dict[str, Part], max_rows: int) -> list[Any]:
    """The rows of the part `rows`, files in their places."""
    rows = _json(parts.pop(ROWS))
    if not isinstance(rows, list):
        raise _wrong(f"`{ROWS}` must be a JSON list of objects.")
    if len(rows) > max_rows:
        raise too_many(len(rows), max_rows)
    left = dict(parts)
    found = [
        {name: _filled(value, parts, left) for name, value in row.items()} if isinstance(row, dict) else row
        for row in rows
    ]
    if left:
        raise _wrong(f'No row names the part `{next(iter(left))}` as {{"{FILE}": …}}.')
    return found


def _filled(value: Any, parts: dict[str, Part], left: dict[str, Part]) -> Any:
    """A value of a row; `{"file": name}` is the file part of that name. It is taken out of `left`."""
    if not isinstance(value, dict) or set(value) != {FILE}:
        return value
    name = value[FILE]
    part = parts.get(name) if isinstance(name, str) else None
    if part is None or not part.is_file:
        raise _wrong(f"There is no file part `{str(name)[:MAX_NAME]}`, which a row names.")
    left.pop(part.name, None)
    return part.file


def _json(part: Part) -> Any:
    try:
        return orjson.loads(part.data)
    except orjson.JSONDecodeError as error:
        detail = f"The part `{part.name}` is not JSON: at character {error.pos}: {error.msg}."
        raise Problem("not-json", detail, _TODO, {"offset": error.pos}) from None


def _parts(content_type: str, body: bytes, max_parts: int) -> list[Part]:
    """All parts, in order. Raises Problem where the form is damaged or has more than it may."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _wrong("The content type of a form must name its boundary.")
    collector = _Collector(max_parts)
    try:
        parser = MultipartParser(
            boundary, collector.callbacks(), max_header_count=MAX_HEADERS, max_header_size=MAX_HEADER_BYTES
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _wrong(f"The form is damaged: {error}.") from None
    if not collector.ended:
        raise _wrong("The form ends within a part: its last boundary is missing.")
    return collector.parts


class _Collector:
    """What the parser calls back."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._max_parts = max_parts
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> Any:
        """The table that the parser takes."""
        return {
            "on_part_begin": self._begin,
            "on_part_data": self._data,
            "on_header_field": self._field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) >= self._max_parts:
            detail = f"A form must have at most {self._max_parts} parts."
            raise Problem("too-large", detail, "Send fewer files a request.", {"max_parts": self._max_parts})
        self.parts.append(Part())
        self._headers = {}

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _headers_end(self) -> None:
        from python_multipart.multipart import parse_options_header

        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or not name or len(name) > MAX_NAME:
            raise _wrong(f"Every part must be form-data with a name of 1 to {MAX_NAME} characters.")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"7bit", b"8bit"):
            raise _wrong(f"The part `{name}` must be sent as it is, without a transfer encoding.")
        self.parts[-1].name = name
        self.parts[-1].is_file = b"filename" in options or b"filename*" in options

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def _end(self) -> None:
        self.ended = True


def _wrong(detail: str) -> Problem:
    return Problem("wrong-shape", detail, _TODO)
