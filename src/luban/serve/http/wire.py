"""Requests and responses over raw ASGI: what the application needs of HTTP, and no more.

Decided here: a body is read whole, up to a limit of bytes and time, because a prediction needs all of
it; every response has a length, an `X-Request-ID`, and tells browsers not to guess its type. This
module knows no route and no bundle.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from luban.serve.question import ANYBODY, Caller
from luban.serve.watch.track import Track

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PIECE_BYTES = 256 * 1024
SINGLE = frozenset(
    (
        b"authorization",
        b"content-encoding",
        b"content-type",
        b"idempotency-key",
        b"inference-header-content-length",
        b"x-api-key",
        b"x-request-id",
        b"x-sticky-key",
        b"x-timeout-ms",
    )
)
"""Headers that may come once: whoever stands before the server may have looked at another one than the server."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")


_ids: deque[str] = deque()


def new_id() -> str:
    """32 random hexadecimal digits. They are drawn many at once: asking the system for each costs more than a row."""
    try:
        return _ids.popleft()
    except IndexError:
        drawn = secrets.token_hex(16 * 256)
        _ids.extend(drawn[start : start + 32] for start in range(0, len(drawn), 32))
        return _ids.popleft()


class Disconnected(Exception):
    """The client went away before its request was read."""


class TooLarge(Exception):
    """The body has more bytes than are allowed."""


@dataclass(slots=True)
class Response:
    """What goes back: the whole body, and headers beside those that every response has.

    `file`: the body is what stands in this file, and is sent piece by piece.
    """

    body: bytes
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None

    @property
    def num_bytes(self) -> int:
        """Length of the body."""
        return len(self.body) if self.file is None else self.file.stat().st_size


class Request:
    """One HTTP request. `id` is the client's X-Request-ID if that is a plain token, else a new one.

    `path` is as it was sent: a route's parts are decoded once, when it was found, so an encoded slash is part of a
    name, and what was encoded twice stays encoded. `doubled` names a header of `SINGLE` that came twice, or "".
    """

    __slots__ = (
        "_body",
        "_headers",
        "_is_read",
        "_query",
        "_receive",
        "caller",
        "doubled",
        "id",
        "is_let_in",
        "method",
        "parts",
        "path",
        "route",
        "track",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = _as_sent(scope)
        self._query: bytes = scope.get("query_string", b"")
        # Names come in small letters, as ASGI asks for.
        headers = scope["headers"]
        self._headers: dict[bytes, bytes] = dict(headers)
        self.doubled = "" if len(self._headers) == len(headers) else _doubled(headers)
        self._receive = receive
        self.parts: dict[str, str] = {}
        """What stands in the path for each part in braces."""
        self.route = ""
        """The path as it stands in the table of routes, once it was found."""
        self.caller: Caller = ANYBODY
        """Who asks, once the door was passed."""
        self.is_let_in = False
        """Whether it was: a request that is begun anew must not use up a token for one use again."""
        self._body: bytes | None = None
        self._is_read = False
        self.track = Track()
        given = self.header("x-request-id")
        self.id = given if given and _REQUEST_ID.fullmatch(given) else new_id()

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the query string; of several of one name, the last."""
        return dict(parse_qsl(self._query.decode("latin-1"), keep_blank_values=True))

    def header(self, name: str) -> str:
        """A header's value, "" where it is absent; `name` in small letters."""
        value = self._headers.get(name.encode())
        return value.decode("latin-1").strip() if value is not None else ""

    @property
    def num_bytes(self) -> int:
        """Length of the body as the head says it, 0 where it does not."""
        return number_in(self.header("content-length"))

    @property
    def waits(self) -> bool:
        """Whether the client waits to be asked for its body (`Expect: 100-continue`), and was not."""
        return not self._is_read and bool(self.header("expect"))

    async def body(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body, also if it is asked for again. Raises TooLarge, TimeoutError or Disconnected."""
        if self._body is not None:
            return self._body
        if self.num_bytes > max_bytes:
            raise TooLarge
        self._is_read = True
        async with asyncio.timeout(timeout_s):
            self._body = await self._read(max_bytes)
        return self._body

    async def chunks(self, max_bytes: int, timeout_s: float) -> AsyncIterator[bytes]:
        """The body as it comes, for what is too large to be held. Raises as `body` does."""
        seen, more = 0, True
        if self.num_bytes > max_bytes:
            raise TooLarge
        self._is_read = True
        end = asyncio.get_running_loop().time() + timeout_s
        while more:
            async with asyncio.timeout_at(end):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece, more = message.get("body", b""), message.get("more_body", False)
            seen += len(piece)
            if seen > max_bytes:
                raise TooLarge
            yield piece

    async def _read(self, max_bytes: int) -> bytes:
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message.get("body", b"")
            if len(body) > max_bytes:
                raise TooLarge
            return body
        pieces = bytearray()
        while True:
            if message["type"] == "http.disconnect":
                raise Disconnected
            pieces += message.get("body", b"")
            if len(pieces) > max_bytes:
                raise TooLarge
            if not message.get("more_body"):
                return bytes(pieces)
            message = await self._receive()


def _as_sent(scope: Scope) -> str:
    """The path as it was sent. Whoever leads a part of it away (a prefix) does so in `path` alone."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    if raw is None or b"%" not in raw:
        return path
    text = raw.partition(b"?")[0].decode("latin-1")
    return text if unquote(text) == path else quote(path)


def _doubled(headers: Iterable[tuple[bytes, bytes]]) -> str:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in SINGLE:
            return name.decode("ascii")
        seen.add(name)
    return ""


def number_in(text: str) -> int:
    """A length in a header, 0 where it is none; one that is beyond all bounds is 10¹⁸.

    >>> number_in("0042"), number_in("-1"), number_in("9" * 5000) == 10**18
    (42, 0, True)
    """
    if not (text.isascii() and text.isdecimal()):
        return 0
    if len(text) > 18 and len(text.lstrip("0")) > 18:
        return 10**18  # Such are perhaps no `int` for Python.
    return int(text.lstrip("0") or "0") if len(text) > 18 else int(text)


def headers_of(response: Response, request_id: str, traceparent: str = "") -> list[tuple[bytes, bytes]]:
    """The headers of a response, in order; `traceparent` where the request is traced."""
    headers = [
        (b"content-type", response.media_type.encode("latin-1")),
        (b"content-length", b"%d" % response.num_bytes),
        (b"x-request-id", request_id.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    if response.status == 204:
        headers = headers[2:]
    if traceparent:
        headers.append((b"traceparent", traceparent.encode("ascii")))
    return headers + [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]


def head_of(response: Response, request_id: str, traceparent: str = "") -> bytes:
    """The same as lines of HTTP/1.1, without the empty one that ends them."""
    if traceparent or response.headers or response.media_type != "application/json" or response.status == 204:
        return b"".join(b"%b: %b\r\n" % header for header in headers_of(response, request_id, traceparent))
    return _USUAL % (len(response.body), request_id.encode("ascii"))


_USUAL = (
    b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n"
    b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n"
)


async def respond(response: Response, request: Request, send: Send) -> None:
    """Send a response; to HEAD, without its body."""
    headers = headers_of(response, request.id, request.track.traceparent)
    if request.waits and "connection" not in response.headers:
        # Whether a body or another request comes next is the client's to choose: see RFC 9110, 10.1.1.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.file is not None and request.method != "HEAD":
        with response.file.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    body = b"" if request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
