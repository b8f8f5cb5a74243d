"""Requests and responses over raw ASGI: what the application needs of HTTP, and no more.

Decided here: a body is read whole, up to a limit of bytes and time, because a prediction needs all of
it; every response has a length, an `X-Request-ID`, and tells browsers not to guess its type. This
module knows no route and no bundle.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from luban.serve.question import ANYBODY, Caller

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:-]{1,128}")


class Disconnected(Exception):
    """The client went away before its request was read."""


class TooLarge(Exception):
    """The body has more bytes than are allowed."""


@dataclass(frozen=True)
class Response:
    """What goes back: the whole body, and headers beside those that every response has."""

    body: bytes
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Request:
    """One HTTP request. `id` is the client's X-Request-ID if that is a plain token, else a new one."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._query: bytes = scope.get("query_string", b"")
        self._headers = {name.lower(): value for name, value in scope["headers"]}
        self._receive = receive
        self.parts: dict[str, str] = {}
        """What stands in the path for each part in braces."""
        self.route = ""
        """The path as it stands in the table of routes, once it was found."""
        self.caller: Caller = ANYBODY
        """Who asks, once the door was passed."""
        given = self.header("x-request-id")
        self.id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)

    @property
    def query(self) -> dict[str, str]:
        """Parameters of the query string; of several of one name, the last."""
        return dict(parse_qsl(self._query.decode("latin-1"), keep_blank_values=True))

    def header(self, name: str) -> str:
        """A header's value, "" where it is absent; `name` in small letters."""
        value: bytes = self._headers.get(name.encode(), b"")
        return value.decode("latin-1").strip()

    async def body(self, max_bytes: int, timeout_s: float) -> bytes:
        """The whole body. Raises TooLarge, TimeoutError or Disconnected."""
        length = self.header("content-length")
        if length.isdecimal() and int(length) > max_bytes:
            raise TooLarge
        async with asyncio.timeout(timeout_s):
            return await self._read(max_bytes)

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


async def respond(response: Response, request: Request, send: Send) -> None:
    """Send a response; to HEAD, without its body."""
    headers = [
        (b"content-type", response.media_type.encode("latin-1")),
        (b"content-length", b"%d" % len(response.body)),
        (b"x-request-id", request.id.encode("ascii")),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]
    if response.status == 204:
        headers = headers[2:]
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = b"" if request.method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body})
