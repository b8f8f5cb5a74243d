"""uvicorn's HTTP/1.1 protocol, made strict where RFC 9112 asks for it and bounded where a client could take all.

The parser (llhttp) refuses what two servers could read differently: Content-Length beside Transfer-Encoding, lengths
twice, folded headers, line ends that are none. What it lets through is decided here:

- `Upgrade` is ignored, as RFC 9110, 7.8 allows: llhttp would take what follows the head for another protocol, so that
  a body would be read as the next request. The head is read again without it;
- trailers are read and dropped (RFC 9110, 6.5.1): never are they taken for headers, a key among them;
- HTTP/1.0 and 1.1 alone; with 1.1 exactly one Host; no coding of a transfer but `chunked`;
- at most MAX_PIPELINED requests wait on one connection; the last of more is answered with `Connection: close`, and
  those behind it are not looked at. Nothing more is read while some wait;
- a client that does not read is not read from, and is cut off after STALL_S; what frames a body (sizes of chunks,
  their extensions, trailers) is bounded in bytes, as a head is; connections far beyond the bound are closed at once.

This module knows no route and no key.
"""

from __future__ import annotations

import asyncio

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
MAX_PIPELINED = 64
STALL_S = 30.0
"""Longest time in which a client takes nothing of what is written to it."""
MAX_FRAME_SHARE = 8
"""Bytes that may frame one byte of a body, beside what a head may have; a chunk of one byte takes five."""
_VERSIONS = ("1.0", "1.1")
_LOOKED_AT = frozenset((b"expect", b"host", b"transfer-encoding"))


class _Refused(Exception):
    """Raised within the parser, which then reads no further: the client gets 400."""


class _Flow(FlowControl):
    """Reads nothing from a client that does not read."""

    def pause_writing(self) -> None:
        super().pause_writing()
        self.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self.write_paused and not self._transport.is_closing():
            super().resume_reading()


class StrictProtocol(HttpToolsProtocol):
    """What is above, for whichever application."""

    flow: _Flow
    _in_head = True
    """No head has been read whole since the last message, or none has begun."""
    _in_body = False
    _version = ""
    _hosts = 0
    _body_bytes = _frame_bytes = 0
    _full = False
    """Too many requests wait; the connection is closed behind them."""
    _ignoring = False
    """What is read belongs to no request."""
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A new connection."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        most = self.limit_concurrency
        if most is not None and len(self.connections) > 2 * most + 16:
            transport.abort()  # Not even a refusal: each that waits for one holds a descriptor.

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._stop_stalling()
        super().connection_lost(exc)

    def feed(self, data: bytes) -> None:
        """Read some bytes. Raises HttpParserError."""
        was_in_body, seen = self._in_body, self._body_bytes
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as found:
                # The parser stands behind the head. Read that again, without what it asked for.
                data = self._head_again() + data[found.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                if self.transport.is_closing() or self._full:
                    return
            else:
                break
        if was_in_body and self._in_body:
            self._frame_bytes += len(data) - (self._body_bytes - seen)
            if self._frame_bytes > MAX_HEAD_BYTES + MAX_FRAME_SHARE * self._body_bytes:
                raise httptools.HttpParserError("too much around a body")

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head, self._in_body, self._hosts = True, False, 0
        self._body_bytes = self._frame_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, as the web server keeps it; a trailer is dropped."""
        if not self._in_head:
            return
        name = name.lower()
        if name in _LOOKED_AT:
            self._look_at(name, value)
        self.headers.append((name, value))

    def _look_at(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif value.lower() != b"chunked":
            raise _Refused(name)

    def begins(self) -> bool:
        """A head is whole: whether the request is one to be answered. Raises where it is none."""
        self._in_head = False
        self._version = version = self.parser.get_http_version()
        if version not in _VERSIONS or self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise _Refused(version)
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _Refused("CONNECT")
            return False  # It comes again, without that: see `feed`.
        self._in_body = True
        self._ignoring = self._full or self.transport.is_closing()
        return not self._ignoring

    def begin_cycle(self) -> None:
        """The usual way of the web server, for the head that was read."""
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers.extend(headers)
        super().on_headers_complete()
        if len(self.pipeline) >= MAX_PIPELINED:
            self._full = True
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._body_bytes += len(body)
        if not self._ignoring:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has come whole."""
        self._in_body = False
        if not self._ignoring and not self.parser.should_upgrade():
            super().on_message_complete()

    def pause_writing(self) -> None:
        """More is written than the client takes."""
        super().pause_writing()
        self._watch_stalling()

    def resume_writing(self) -> None:
        """It has taken some."""
        super().resume_writing()
        self._stop_stalling()
        if self.transport.is_closing():
            self.watch_closing()  # There is still a rest.

    def watch_closing(self) -> None:
        """The connection is closed once what was written is taken: that, too, must not last for ever."""
        if self._stall_timer is None:
            self._watch_stalling()

    def _watch_stalling(self) -> None:
        self._stop_stalling()
        self._stall_timer = self.loop.call_later(STALL_S, self.transport.abort)

    def _stop_stalling(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _head_again(self) -> bytes:
        """The head that was just read, without `Upgrade`."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(one for one in value.split(b",") if one.strip().lower() != b"upgrade")
            if name != b"upgrade":
                lines.append(b"%b: %b" % (name, value))
        return b"\r\n".join([*lines, b"", b""])
