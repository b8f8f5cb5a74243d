"""Requests over kept connections: retries, waiting, and what a server refused.

Decided here: each thread has a connection of its own, and keeps it. A request that the server did not take (429,
503) is sent again after `Retry-After`, or after a wait that doubles, with some chance in it so that many clients do not
come back at once; one whose answer was lost is sent again only if doing it twice does no harm. All of it
ends with the time that the caller gives, of which the server is told what is left.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import ssl
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from luban import __version__
from luban.errors import ConfigError, ServeError

NOT_TAKEN = (429, 503)
LONGEST_WAIT_S = 30.0
_LOST = (http.client.HTTPException, ConnectionError, TimeoutError, OSError)


class Refused(ServeError):
    """The server answered with a problem (RFC 9457). `kind` is the last part of its type, "" where it has none."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        detail = str(body.get("detail") or f"The server answered {status}.")
        super().__init__(detail, str(body.get("todo") or ""))
        self.status = status
        self.kind = str(body.get("type") or "").rpartition(":")[2]
        self.request_id = str(body.get("request_id") or "")
        self.body = dict(body)


class Unreachable(ServeError):
    """No answer came: the server is not there, or the time was over."""


@dataclass(frozen=True)
class Ask:
    """One request. `twice`: sending it twice does no harm. `file` is sent as the body, from its beginning."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    twice: bool = True


@dataclass(frozen=True)
class Got:
    """A response whose body was read."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Wire:
    """Sends requests to one server. Threads may share it."""

    def __init__(self, url: str, key: str, timeout_s: float, retries: int, ca_file: Path | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"`url` must be such as http://127.0.0.1:8000, but got {url!r}.")
        # Named even where the address does not: http.client takes the end of an IPv6 address for a port.
        self._host, self._port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._headers = {"User-Agent": f"luban-client/{__version__}"}
        key = key.strip()  # that of a file ends in a line's end
        if key:
            if not key.isascii() or not key.isprintable():
                raise ConfigError("`key` must be one line of ASCII letters, digits and signs, but it is not.")
            self._headers["Authorization"] = f"Bearer {key}"
        self.timeout_s = timeout_s
        self._retries = retries
        self._local = threading.local()
        self._all: weakref.WeakSet[http.client.HTTPConnection] = weakref.WeakSet()  # one goes with its thread
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in list(self._all):
                connection.close()

    def ask(self, ask: Ask, timeout_s: float | None = None, retries: int | None = None) -> Got:
        """The response, after as many tries as it takes. Raises Refused, Unreachable."""
        end = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        left = self._retries if retries is None else retries
        tried = 0
        while True:
            wait_s = min(LONGEST_WAIT_S, 0.1 * 2**tried) * (0.5 + random.random() / 2)
            error: ServeError
            try:
                got = self._once(ask, end)
            except _LOST as lost:
                error, again = self._unreachable(lost), ask.twice
            else:
                if got.status < 400:
                    return got
                error, again = _refused(got), got.status in NOT_TAKEN
                wait_s = _asked_wait(got.headers, wait_s)
            if not again or tried >= left or time.monotonic() + wait_s >= end:
                raise error
            time.sleep(wait_s)
            tried += 1

    def _unreachable(self, lost: Exception) -> Unreachable:
        place = f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"
        reason = str(lost) or type(lost).__name__
        todo = "Look whether the server runs, and at this address."
        if isinstance(lost, ssl.SSLCertVerificationError):
            todo = "Name the certificate, or that of its authority, as `ca_file`; it must be for this host."
        elif self._tls is None and isinstance(lost, http.client.RemoteDisconnected):
            todo = "Look into the server's log; if it speaks TLS, begin the address with https."
        return Unreachable(f"No answer from {place}: {reason}.", todo)

    @contextlib.contextmanager
    def stream(self, ask: Ask, timeout_s: float | None = None) -> Iterator[BinaryIO]:
        """The body of a response, read piece by piece. Raises Refused, Unreachable."""
        connection = self._connection(fresh=True)
        try:
            response = self._send(connection, ask, time.monotonic() + (timeout_s or self.timeout_s))
            if response.status >= 400:
                raise _refused(Got(response.status, _small(response.headers), response.read()))
            yield response
        except _LOST as lost:
            raise self._unreachable(lost) from lost
        finally:
            connection.close()

    def _once(self, ask: Ask, end: float) -> Got:
        connection = self._connection()
        was_kept = connection.sock is not None
        try:
            try:
                response = self._send(connection, ask, end)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not was_kept or not ask.twice:
                    raise
                connection.close()  # the server had closed it since the last request
                response = self._send(connection, ask, end)
            return Got(response.status, _small(response.headers), response.read())
        except BaseException:
            connection.close()
            raise

    def _send(self, connection: http.client.HTTPConnection, ask: Ask, end: float) -> http.client.HTTPResponse:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time was over")
        connection.timeout = left
        if connection.sock is not None:
            connection.sock.settimeout(left)
        path = self._prefix + ask.path + (f"?{urlencode(ask.query)}" if ask.query else "")
        told = {**self._headers, "X-Timeout-Ms": f"{left * 1000:.0f}", **ask.headers}
        headers = {name: _header(name, value) for name, value in told.items()}
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # Who refuses a large body answers before it was sent, and closes: the answer may still be read.
            if ask.file is None:
                connection.request(ask.method, path, ask.body or None, headers)
            else:
                with ask.file.open("rb") as file:
                    headers["Content-Length"] = str(ask.file.stat().st_size).encode()
                    connection.request(ask.method, path, file, headers)
        return connection.getresponse()

    def _connection(self, fresh: bool = False) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = None if fresh else getattr(self._local, "connection", None)
        if found is not None:
            return found
        if self._tls is not None:
            found = http.client.HTTPSConnection(self._host, self._port, context=self._tls)
        else:
            found = http.client.HTTPConnection(self._host, self._port)
        if not fresh:
            self._local.connection = found
            with self._lock:
                self._all.add(found)
        return found


def as_json(told: Mapping[str, Any]) -> bytes:
    """A body of JSON; bytes, and files that a path names, as base64. NaN raises ValueError."""
    return json.dumps(told, ensure_ascii=False, allow_nan=False, default=_base64).encode()


def _header(name: str, value: str) -> bytes:
    """A header's value as it goes over the wire, in UTF-8 as curl sends it. Raises ConfigError for control signs."""
    if not value.isprintable():
        raise ConfigError(f"What is sent as {name} must be one line of printable text, but got {value!r}.")
    return value.encode()


def _base64(value: object) -> str:
    if isinstance(value, Path):
        value = value.read_bytes()
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"a value must be text, a number, true, false, None, bytes or a path, not {type(value)}")
    return base64.b64encode(value).decode("ascii")


def _refused(got: Got) -> Refused:
    try:
        body = got.json()
    except ValueError:
        body = {}
    return Refused(got.status, body if isinstance(body, dict) else {})


def _asked_wait(headers: Mapping[str, str], otherwise: float) -> float:
    text = headers.get("retry-after", "")
    return float(int(text)) if text.isdecimal() else otherwise


def _small(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
