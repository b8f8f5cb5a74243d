"""What a client may do to a connection: framing that two servers could read differently, and taking without end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.http import strict
from waiting import BOUND_S

from ..conftest import FakeBundle
from .test_direct import KEY, Asking, request

ASKED = request(b'{"rows": [{"text": "a"}]}')
HEAD, BODY = (part for part in ASKED.split(b"\r\n\r\n"))
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
SLOW = request(b'{"rows": [' + b'{"text": "wait"},' * 9 + b'{"text": "wait"}]}').replace(b"same", b"1")


def chunked(*more: bytes, trailers: bytes = b"") -> bytes:
    head = re.sub(rb"Content-Length: \d+", b"\r\n".join([b"Transfer-Encoding: chunked", *more]), HEAD)
    return b"%b\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (head, len(BODY), BODY, trailers)


def ids(text: bytes) -> list[bytes]:
    return re.findall(rb"x-request-id: (\S+)", text)


@pytest.mark.parametrize(
    "asked",
    {
        "both lengths": HEAD + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY,
        "two lengths": HEAD + b"\r\nContent-Length: 3\r\n\r\n" + BODY,
        "a folded header": HEAD + b"\r\nX-A: b\r\n c\r\n\r\n" + BODY,
        "a space before the colon": HEAD + b"\r\nTransfer-Encoding : chunked\r\n\r\n" + BODY,
        "a bare line end": HEAD + b"\r\nX-A: b\n\r\n" + BODY,
        "a bare return": HEAD + b"\r\nX-A: b\rX-B: c\r\n\r\n" + BODY,
        "a zero byte": HEAD + b"\r\nX-A: b\0c\r\n\r\n" + BODY,
        "chunks without returns": chunked().replace(b"\r\n0\r\n\r\n", b"\n0\n\n"),
        "another coding": chunked().replace(b"chunked", b"gzip, chunked"),
        "no host": ASKED.replace(b"Host: localhost\r\n", b""),
        "two hosts": ASKED.replace(b"Host: localhost", b"Host: localhost\r\nHost: y"),
        "HTTP/2.0 in a line": ASKED.replace(b"HTTP/1.1", b"HTTP/2.0"),
        "HTTP/0.9 in a line": ASKED.replace(b"HTTP/1.1", b"HTTP/0.9"),
        "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + HEALTH,
    }.items(),
    ids=lambda case: case[0],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(asked: tuple[str, bytes], client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(asked[1])
    assert asking.answer().startswith(b"HTTP/1.1 400")
    assert asking.is_closed()


def test_old_clients_need_no_host(client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(b"GET /health HTTP/1.0\r\n\r\n")
    assert b"alive" in asking.answer()


@pytest.mark.parametrize("environment", [{"LUBAN_API_KEY": KEY}], ids=["key"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_a_trailer_is_no_header(pieces: int, client: httpx.Client) -> None:
    asking = Asking(client)
    head, _, rest = chunked(trailers=b"X-API-Key: %b\r\n" % KEY.encode()).partition(b"\r\n\r\n")
    asking.send(*([head + b"\r\n\r\n" + rest] if pieces == 1 else [head + b"\r\n\r\n", rest]))
    assert asking.answer().startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("upgrade", [b"foo", b"h2c", b"websocket"])
@pytest.mark.parametrize("whole", [True, False])
def test_upgrade_is_ignored_and_a_body_stays_a_body(upgrade: bytes, whole: bool, client: httpx.Client) -> None:
    """The parser takes what follows such a head for another protocol: a body sent later became the next request."""
    asking = Asking(client)
    body = b'{"rows": [{"text": "GET /health HTTP/1.1"}]}'
    asked = request(body, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade)
    head, _, body = asked.partition(b"\r\n\r\n")
    asking.send(*([asked] if whole else [head + b"\r\n\r\n", body]))
    assert b'"long"' in asking.answer()
    asking.send(HEALTH, ASKED)
    assert b"alive" in asking.answer()
    assert b'"short"' in asking.answer()


def test_a_request_inside_a_body_is_never_answered(client: httpx.Client) -> None:
    asking = Asking(client)
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    asking.send(request(hidden, b"Connection: upgrade", b"Upgrade: foo").replace(hidden, b""), hidden)
    assert asking.answer().startswith(b"HTTP/1.1 400")
    asking.send(HEALTH)
    assert b"alive" in asking.answer()


def test_answers_keep_their_order_behind_a_slow_one(client: httpx.Client, bundle: FakeBundle) -> None:
    """The second goes the usual way; the third came when the first was answered, and must not overtake it."""
    asking = Asking(client)
    second = SLOW.replace(b"X-Request-ID: 1", b"X-Request-ID: 2").replace(b"/v1/predict", b"/v1/predict?a=b")
    asking.send(SLOW + second)
    assert bundle.waits.wait(BOUND_S)
    bundle.go_on.set()
    first = asking.answer()
    bundle.go_on.clear()
    asking.send(ASKED.replace(b"same", b"3"))
    time.sleep(0.1)
    bundle.go_on.set()
    assert [*ids(first), *ids(asking.answer()), *ids(asking.answer())] == [b"1", b"2", b"3"]


def test_a_body_in_pieces_behind_a_slow_one(client: httpx.Client, bundle: FakeBundle) -> None:
    asking = Asking(client)
    asking.send(SLOW + ASKED[:-5])
    assert bundle.waits.wait(BOUND_S)
    bundle.go_on.set()
    assert ids(asking.answer()) == [b"1"]
    asking.send(ASKED[-5:])
    assert b'"short"' in asking.answer()


def test_few_requests_may_wait_on_one_connection(client: httpx.Client, bundle: FakeBundle) -> None:
    asking = Asking(client)
    asking.send(SLOW + HEALTH * 1000)
    assert bundle.waits.wait(BOUND_S)
    assert client.get("/health").status_code == 200  # the loop has read all that had come
    bundle.go_on.set()
    answers = [asking.answer() for _ in range(1 + strict.MAX_PIPELINED)]
    assert [b"connection: close" in answer for answer in answers] == [False] * strict.MAX_PIPELINED + [True]
    assert asking.rest == b""
    with contextlib.suppress(ConnectionResetError):  # What it had sent was not read.
        assert asking.is_closed()


@pytest.mark.parametrize(
    "more",
    [b"".join(b"a%d: b\r\n" % n for n in range(40_000)), b"a: " + b"b" * 400_000, b"0;" + b"b" * 400_000],
    ids=["many trailers", "a long trailer", "a long extension"],
)
def test_what_frames_a_body_is_bounded(more: bytes, client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(chunked().partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + (b"" if more[:2] == b"0;" else b"0\r\n"))
    time.sleep(0.05)
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        for start in range(0, len(more), 10_000):
            asking.socket.sendall(more[start : start + 10_000])
            time.sleep(0.001)
        assert b"400" in asking.answer()
    assert client.get("/health").status_code == 200


def test_a_body_of_many_small_chunks_is_read(client: httpx.Client) -> None:
    asking = Asking(client)
    body = b'{"rows": [{"text": "%b"}]}' % (b"a" * 4000)
    head = chunked().partition(b"\r\n\r\n")[0]
    asking.send(head + b"\r\n\r\n", b"".join(b"1\r\n%c\r\n" % one for one in body), b"0\r\n\r\n")
    assert b'"long"' in asking.answer()


@pytest.fixture
def cut_off() -> threading.Event:
    """Set when the server has let go of a connection."""
    return threading.Event()


@pytest.fixture
def taker(client: httpx.Client, monkeypatch: pytest.MonkeyPatch, cut_off: threading.Event) -> Iterator[socket.socket]:
    """A connection with small buffers at both ends, to a server that waits for 0.3 s."""
    monkeypatch.setattr(strict, "STALL_S", 0.3)
    made, lost = strict.StrictProtocol.connection_made, strict.StrictProtocol.connection_lost

    def small(self: strict.StrictProtocol, transport: asyncio.Transport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        made(self, transport)

    def noted(self: strict.StrictProtocol, error: Exception | None) -> None:
        lost(self, error)
        cut_off.set()

    monkeypatch.setattr(strict.StrictProtocol, "connection_made", small)
    monkeypatch.setattr(strict.StrictProtocol, "connection_lost", noted)
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        taker.settimeout(10)
        taker.connect((client.base_url.host, client.base_url.port))
        yield taker


@pytest.mark.parametrize(
    "asked",
    [
        b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n",
        request(b"[]") * 500,
    ],
    ids=["a long answer", "many refusals"],
)
def test_who_takes_nothing_is_cut_off(
    asked: bytes, taker: socket.socket, client: httpx.Client, cut_off: threading.Event
) -> None:
    taker.sendall(asked)
    assert cut_off.wait(BOUND_S)
    num_taken = 0
    with contextlib.suppress(ConnectionResetError):
        while piece := taker.recv(65_536):
            num_taken += len(piece)
    assert num_taken < 20_000, "all was kept for it"
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize("config", [ServeConfig(port=0, max_connections=4)])
def test_connections_far_beyond_the_bound_are_closed(client: httpx.Client) -> None:
    assert client.get("/health").status_code == 200
    many = [Asking(client) for _ in range(40)]
    with contextlib.suppress(ConnectionResetError):
        assert many[-1].socket.recv(10) == b""
    for one in many:
        one.socket.close()


@pytest.mark.parametrize("environment", [{"LUBAN_API_KEY": KEY}], ids=["key"])
def test_a_body_that_was_not_asked_for_ends_the_connection(client: httpx.Client) -> None:
    """Who waits for `100 Continue` and is refused may go on with another request: that is no body."""
    asking = Asking(client)
    asking.send(HEAD + b"\r\nExpect: 100-continue\r\n\r\n")
    answer = asking.answer()
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer
    assert asking.is_closed()


@pytest.mark.parametrize("environment", [{"LUBAN_API_KEY": KEY}], ids=["key"])
@pytest.mark.parametrize("path", [b"/v1/predict", b"/v1/models/re%76iews/predict"], ids=["short", "usual"])
@pytest.mark.parametrize("header", [b"X-API-Key: other", b"Content-Type: text/plain", b"X-Request-ID: b"])
def test_what_comes_once_is_refused_twice(header: bytes, path: bytes, client: httpx.Client) -> None:
    """Whoever stands before the server (a gateway, a log) may have gone by the other one."""
    asking = Asking(client)
    key = b"X-API-Key: " + KEY.encode()
    asking.send(request(b'{"rows": [{"text": "a"}]}', key, b"X-A: 1", b"X-A: 2", path=path))
    assert asking.answer().startswith(b"HTTP/1.1 200")
    asking.send(request(b'{"rows": [{"text": "a"}]}', header, key, path=path))
    answer = asking.answer()
    assert answer.startswith(b"HTTP/1.1 400")
    assert header.partition(b":")[0].lower() in answer


@pytest.mark.parametrize(
    "path", ["/%6detrics", "/v1%2fmodel", "/v1/model%73", "/v1/../metrics", "//metrics", "/metrics/"]
)
def test_a_path_has_one_spelling(path: str, client: httpx.Client) -> None:
    """Or a proxy that keeps one from others (`/metrics`) is passed by another."""
    asking = Asking(client)
    asking.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert asking.answer().startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("name", "found"),
    {"re%76iews": 200, "re%2576iews": 404, "a%2Freviews": 404, "%00": 404, "%ff": 404, "%zz": 404}.items(),
)
def test_names_in_paths_are_decoded_once(name: str, found: int, client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(request(b'{"rows": [{"text": "a"}]}', path=f"/v1/models/{name}/predict".encode()))
    assert asking.answer().startswith(b"HTTP/1.1 %d" % found)


@pytest.mark.parametrize("zeros", [0, 5000])
def test_lengths_of_many_digits(zeros: int, client: httpx.Client) -> None:
    asking = Asking(client)
    length = b"0" * zeros
    asking.send(ASKED.replace(b"Content-Length: ", b"Content-Length: " + length))
    assert asking.answer().startswith(b"HTTP/1.1 200")
    header = b"Inference-Header-Content-Length: 0%b" % (length + b"9" * 5000)
    asking.send(request(b"{}", header, path=b"/v2/models/reviews/infer"))
    assert asking.answer().startswith(b"HTTP/1.1 400")
