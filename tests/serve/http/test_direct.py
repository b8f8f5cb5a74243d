"""The short way and the usual way: the same bytes for the same requests, whatever is wrong with them."""

from __future__ import annotations

import re
import socket
import threading
import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.serve.config import ServeConfig
from luban.serve.http.direct import MAX_HEAD_BYTES
from luban.serve.server import serving
from waiting import BOUND_S, until

from ..conftest import FakeBundle, HandOrigin

PATH = b"/v1/predict"
KEY = "0123456789abcdef-key"


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig(port=0, poll_s=0.02, max_rows=20, max_body_bytes=5000)


def request(body: bytes, *headers: bytes, path: bytes = PATH, json: bool = True) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: localhost", b"X-Request-ID: same", b"Content-Length: %d" % len(body)]
    lines += [b"Content-Type: application/json"] if json else []
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + body


class Asking:
    """One connection to a server."""

    def __init__(self, client: httpx.Client) -> None:
        self.socket = socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=BOUND_S)
        self.rest = b""

    def send(self, *pieces: bytes) -> None:
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.02)  # Each is to come by itself.
            self.socket.sendall(piece)

    def answer(self) -> bytes:
        """One response, but for its date."""
        while b"\r\n\r\n" not in self.rest:
            self._more()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        while length is not None and len(self.rest) < int(length[1]):
            self._more()
        size = int(length[1]) if length is not None else 0
        body, self.rest = self.rest[:size], self.rest[size:]
        return re.sub(rb"date: [^\r]*\r\n", b"", head) + b"\r\n\r\n" + body

    def is_closed(self) -> bool:
        return self.socket.recv(100) == b""

    def _more(self) -> None:
        piece = self.socket.recv(65_536)
        assert piece, f"closed after {self.rest!r}"
        self.rest += piece


def both(client: httpx.Client, asked: bytes) -> tuple[bytes, bytes]:
    """The answers by the short way (it comes whole) and by the usual way (its body comes in two pieces)."""
    short, usual = Asking(client), Asking(client)
    head, _, body = asked.partition(b"\r\n\r\n")
    short.send(asked)
    usual.send(head + b"\r\n\r\n" + body[: len(body) // 2], body[len(body) // 2 :] or b"")
    answers = short.answer(), usual.answer()
    short.socket.close()
    usual.socket.close()
    return answers


CASES = {
    "answer": request(b'{"rows": [{"text": "a"}, {"stars": 2}]}'),
    "errors of rows": request(b'{"rows": [{"text": "bad"}, {"texd": "a"}, 5, {"text": "ok"}]}'),
    "options": request(b'{"rows": [{"text": "a"}], "options": {"style": "loud"}}'),
    "wrong options": request(b'{"rows": [{"text": "a"}], "options": {"style": "odd"}}'),
    "no json": request(b'{"rows": [{"te'),
    "another form": request(b'[1, 2]'),
    "too many rows": request(b'{"rows": [' + b'{"stars": 1},' * 25 + b'{"stars": 1}]}'),
    "too large": request(b'{"rows": [{"text": "' + b"a" * 5000 + b'"}]}'),
    "no type": request(b'{"rows": []}', json=False),
    "encoded": request(b'{"rows": []}', b"Content-Encoding: gzip"),
    "an exception": request(b'{"rows": [{"text": "explode"}]}'),
    "by name": request(b'{"rows": [{"text": "a"}]}', path=b"/v1/models/reviews/predict"),
    "no such model": request(b'{"rows": [{"text": "a"}]}', path=b"/v1/models/other/predict"),
    "no such path": request(b'{"rows": [{"text": "a"}]}', path=b"/v1/predicd"),
    "an encoded path": request(b'{"rows": [{"text": "a"}]}', path=b"/v1/models/re%76iews/predict"),
    "a query": request(b'{"rows": [{"text": "a"}]}', path=b"/v1/predict?a=b"),
    "a wrong deadline": request(b'{"rows": [{"text": "a"}]}', b"X-Timeout-Ms: soon"),
    "a deadline": request(b'{"rows": [{"text": "a"}]}', b"X-Timeout-Ms: 5000"),
    "close": request(b'{"rows": [{"text": "a"}]}', b"Connection: close"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_both_ways_answer_alike(name: str, client: httpx.Client) -> None:
    short, usual = both(client, CASES[name])
    assert short == usual
    assert short.startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("environment", [{"LUBAN_API_KEY": KEY}], ids=["key"])
@pytest.mark.parametrize("header", [b"X-A: b", b"X-API-Key: " + b"x" * 20, b"Authorization: Bearer " + KEY.encode()])
def test_both_ways_ask_for_the_key(header: bytes, client: httpx.Client) -> None:
    short, usual = both(client, request(b'{"rows": [{"text": "a"}]}', header))
    assert short == usual
    assert short.startswith(b"HTTP/1.1 200" if KEY.encode() in header else b"HTTP/1.1 401")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=30).map(lambda t: b'{"rows":[{"text":"%b"}]}' % t.encode("utf-8", "surrogatepass")),
    )
)
def test_both_ways_answer_anything_alike(body: bytes, client: httpx.Client) -> None:
    short, usual = both(client, request(body))
    assert short == usual


def test_both_ways_are_counted_alike(client: httpx.Client) -> None:
    for name in ("answer", "no json"):
        both(client, CASES[name])
    figures = client.get("/metrics").text
    assert 'luban_requests_total{route="/v1/predict",status="200"} 2.0' in figures
    assert 'luban_requests_total{route="/v1/predict",status="400"} 2.0' in figures


def test_one_connection_is_kept_over_both_ways(client: httpx.Client) -> None:
    asking = Asking(client)
    asked = CASES["answer"]
    for _ in range(3):
        asking.send(asked)
        first = asking.answer()
        asking.send(asked[:-5], asked[-5:])
        assert asking.answer() == first
        asking.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"alive" in asking.answer()


def test_requests_that_come_at_once_are_answered_in_order(client: httpx.Client) -> None:
    asking = Asking(client)
    bodies = [b'{"rows": [{"text": "%b"}]}' % (b"x" * size) for size in (1, 20, 2, 30)]
    ids = [b"%d" % number for number in range(8)]
    asked = [request(body).replace(b"same", id_) for body, id_ in zip(bodies * 2, ids, strict=True)]
    asked[5] = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 5\r\n\r\n"
    asking.send(b"".join(asked))
    answers = [asking.answer() for _ in asked]
    assert [re.search(rb"x-request-id: (\d+)", answer)[1] for answer in answers] == ids  # type: ignore[index]
    assert [b"long" in answer for answer in answers] == [False, True, False, True, False, False, False, True]


def test_one_that_waits_holds_back_those_behind_it(client: httpx.Client, bundle: FakeBundle) -> None:
    asking = Asking(client)
    large = request(b'{"rows": [' + b'{"text": "wait"},' * 9 + b'{"text": "wait"}]}')
    asking.send(large + CASES["answer"])
    assert bundle.waits.wait(BOUND_S)
    bundle.go_on.set()
    assert asking.answer().count(b'"label"') == 10
    assert asking.answer().count(b'"label"') == 2


def test_a_client_that_leaves_does_no_harm(client: httpx.Client, bundle: FakeBundle) -> None:
    asking = Asking(client)
    asking.send(request(b'{"rows": [' + b'{"text": "wait"},' * 9 + b'{"text": "wait"}]}'))
    assert bundle.waits.wait(BOUND_S)
    asking.socket.close()
    time.sleep(0.05)
    bundle.go_on.set()
    assert client.post("/v1/predict", json={"rows": [{"text": "a"}]}).status_code == 200


def test_after_close_nothing_more_is_answered(client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(CASES["close"] + CASES["answer"])
    assert b"connection: close" in asking.answer()
    assert asking.rest == b""
    assert asking.is_closed()


def test_http_1_0_and_expect_take_the_usual_way(client: httpx.Client) -> None:
    old = Asking(client)
    old.send(CASES["answer"].replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"connection: close" in old.answer()
    careful = Asking(client)
    head, _, body = request(b'{"rows": [{"text": "a"}]}', b"Expect: 100-continue").partition(b"\r\n\r\n")
    careful.send(head + b"\r\n\r\n")
    assert careful.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
    careful.send(body)
    assert careful.answer().startswith(b"HTTP/1.1 200")


def test_chunks_that_have_come_whole(client: httpx.Client) -> None:
    asking = Asking(client)
    head = CASES["answer"].partition(b"\r\n\r\n")[0].replace(b"Content-Length: 39", b"Transfer-Encoding: chunked")
    assert b"chunked" in head
    asking.send(head + b"\r\n\r\n13\r\n" + b'{"rows": [{"text": ' + b"\r\n7\r\n" + b'"ab"}]}' + b"\r\n0\r\n\r\n")
    assert asking.answer().startswith(b"HTTP/1.1 200")


def test_a_long_head_is_cut_off_on_a_kept_connection(client: httpx.Client) -> None:
    asking = Asking(client)
    asking.send(CASES["answer"])
    asking.answer()
    try:
        asking.socket.sendall(b"POST /v1/predict HTTP/1.1\r\n")
        for _ in range(2 * MAX_HEAD_BYTES // 1000):
            asking.socket.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")
        assert b"400 Bad Request" in asking.answer()
    except (ConnectionResetError, BrokenPipeError):
        pass  # The server closed while the client was still sending.
    assert client.get("/health").status_code == 200


def test_idle_connections_are_closed(origin: HandOrigin, bundle: FakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luban.serve.draining.KEEP_ALIVE_S", 3.0)
    with serving(origin, ServeConfig(port=0), {}) as address, httpx.Client(base_url=address) as client:
        asking = Asking(client)
        for _ in range(3):
            asking.send(CASES["answer"])
            asking.answer()
            time.sleep(1.1)  # Together longer than it may be idle.
        assert asking.is_closed()


def go_on_once_it_stops(address: str, bundle: FakeBundle) -> None:
    """Let the model go on when the server takes no more connections."""
    host, _, port = address.removeprefix("http://").rpartition(":")

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    until(is_closed)
    bundle.go_on.set()


def test_it_stops_while_a_direct_request_runs(origin: HandOrigin, bundle: FakeBundle) -> None:
    with serving(origin, ServeConfig(port=0), {}) as address, httpx.Client(base_url=address) as client:
        asking = Asking(client)
        asking.send(request(b'{"rows": [' + b'{"text": "wait"},' * 9 + b'{"text": "wait"}]}'))
        assert bundle.waits.wait(BOUND_S)
        threading.Thread(target=go_on_once_it_stops, args=(address, bundle)).start()
    answer = asking.answer()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer
