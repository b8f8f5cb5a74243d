"""Requests that are sent away unread.

Twice the load that a server can bear can only be sent away if a refusal costs a small part of an answer. To parse a
head, to look for its route and its key, to make an answer and a line of the log is no small part of a cheap model's
answer. So a request that has come whole, alone and in plain form is only looked at for its path, its length and its
X-Request-ID. All else is read as usual, and refused then.

Whether a key is good is not looked at: who is sent away learns nothing but that the server is busy.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from luban.serve.http.wire import Response, head_of

_ID = re.compile(rb"[A-Za-z0-9._~:-]{1,128}")
_UNUSUAL = re.compile(rb"\r\n(?:transfer-encoding|connection|expect|upgrade|[ \t])")
_LENGTH, _OWN_ID, _HOST = b"\r\ncontent-length:", b"\r\nx-request-id:", b"\r\nhost:"
_MARK = "#request-id#"


def whole_and_alone(data: bytes) -> tuple[str, str] | None:
    """Path and X-Request-ID ("" where there is none) of a POST of HTTP/1.1 that is all there is in `data`.

    None where it is not that, or not certainly: what two servers could read differently is for the parser to judge.

    >>> whole_and_alone(b"POST /v1/predict HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 2\\r\\n\\r\\n{}")
    ('/v1/predict', '')
    """
    end = data.find(b"\r\n\r\n")
    first = data.find(b" HTTP/1.1\r\n", 0, end)
    if first < 0 or not data.startswith(b"POST /"):
        return None
    head = data[:end].lower()
    if head.count(b"\n") != head.count(b"\r\n") or b"\0" in head or _UNUSUAL.search(head):
        return None
    if head.count(b"\r\ncontent-length") != 1 or head.count(_HOST) != 1:
        return None
    length = _value(head, _LENGTH)
    if not length.isdigit() or len(length) > 12 or end + 4 + int(length) != len(data):
        return None
    path = data[5:first]
    if not path.isascii() or b" " in path or b"\r" in path:
        return None
    id = _value(data[:end], _OWN_ID, head)
    return path.decode("ascii"), id.decode("ascii") if _ID.fullmatch(id) else ""


def _value(head: bytes, name: bytes, small: bytes | None = None) -> bytes:
    """The value of the first header of a name, b"" where there is none; `small` is the head in small letters."""
    at = (head if small is None else small).find(name)
    if at < 0:
        return b""
    end = head.find(b"\r\n", at + 2)
    return head[at + len(name) : end if end >= 0 else len(head)].strip(b" \t")


class Refusal:
    """A response as bytes, but for the status line and the request's id. `make` makes it for an id."""

    def __init__(self, make: Callable[[str], Response]) -> None:
        made, mark = make(_MARK), _MARK.encode("ascii")
        length = b"content-length: %d\r\n"
        head, found, rest = head_of(made, _MARK).partition(length % len(made.body))
        assert found, "a response says how long it is"
        self._before, self._behind = head.split(mark), (rest + b"\r\n" + made.body).split(mark)
        self._num_ids = made.body.count(mark)
        self._rest = len(made.body) - len(mark) * self._num_ids

    def bytes(self, request_id: str) -> bytes:
        """Headers and body with this id."""
        id = request_id.encode("ascii")
        length = b"content-length: %d\r\n" % (self._rest + self._num_ids * len(id))
        return id.join(self._before) + length + id.join(self._behind)
