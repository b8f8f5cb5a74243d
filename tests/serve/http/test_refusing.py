"""Requests that are sent away unread: which, and that the parser would have read them alike."""

from __future__ import annotations

import re
import socket

import httptools
import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from luban.serve.config import ServeConfig
from luban.serve.guards.limits_config import LimitsConfig
from luban.serve.guards.shedding import overloaded
from luban.serve.http.refusing import Refusal, whole_and_alone
from luban.serve.http.wire import head_of
from waiting import BOUND_S, until

from ..conftest import FakeBundle

PLAIN = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"


def with_line(*lines: bytes) -> bytes:
    return PLAIN.replace(b"Host: a\r\n", b"Host: a\r\n" + b"".join(line + b"\r\n" for line in lines))


def test_path_and_id() -> None:
    assert whole_and_alone(PLAIN) == ("/v1/predict", "")
    assert whole_and_alone(with_line(b"X-Request-ID:  My-1 ")) == ("/v1/predict", "My-1")
    assert whole_and_alone(with_line(b'X-Request-ID: "<b>"')) == ("/v1/predict", "")


@pytest.mark.parametrize(
    "data",
    [
        PLAIN[:-1],
        PLAIN + b"P",
        PLAIN[:40],
        PLAIN.replace(b"POST", b"GET"),
        PLAIN.replace(b"1.1", b"1.0"),
        PLAIN.replace(b"Host: a\r\n", b""),
        with_line(b"Host: b"),
        with_line(b"Content-Length: 2"),
        with_line(b"Content-Length : 2"),
        with_line(b"Transfer-Encoding: chunked"),
        with_line(b"connection: close"),
        with_line(b"Expect: 100-continue"),
        with_line(b"Upgrade: h2c"),
        with_line(b" folded: 1"),
        with_line(b"A: b\nTransfer-Encoding: chunked"),
        with_line(b"A: \0"),
        PLAIN.replace(b"th: 2", b"th: +2"),
        PLAIN.replace(b"th: 2", b"th: 2, 2"),
        PLAIN.replace(b"/v1/predict", b"/v1/pre dict"),
        PLAIN.replace(b"/v1/predict", "/v1/prédict".encode()),
        b"",
    ],
)
def test_all_else_is_for_the_parser(data: bytes) -> None:
    assert whole_and_alone(data) is None


class Parsed:
    """What the parser finds."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.whole = 0
        httptools.HttpRequestParser(self).feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1


LINES = st.sampled_from([
    b"Host: a", b"Content-Length: 2", b"Content-Length: 0", b"content-length:\t2 ", b"Content-Length: 02", b"X: y",
    b"X-Request-ID: 1", b"Transfer-Encoding: chunked", b"Content-Length:", b"A:b\rc", b"A", b":",
    b"X: Content-Length: 7", b"Connection: keep-alive", b"",
])  # fmt: skip


@given(st.lists(LINES, max_size=6), st.sampled_from([b"{}", b"", b"{}{}", b"2\r\n{}\r\n0\r\n\r\n"]), st.booleans())
@example([b"Host: a", b"Content-Length: 2"], b"{}", True)
def test_what_is_sent_away_is_one_request_for_the_parser_too(lines: list[bytes], body: bytes, blank: bool) -> None:
    data = b"\r\n".join([b"POST /v1/predict HTTP/1.1", *lines, b"", body] if blank else [*lines, b"", b"", body])
    found = whole_and_alone(data)
    if found is None:
        return
    try:
        parsed = Parsed(data)
    except httptools.HttpParserError:
        return  # It would have been refused for another reason; there is nothing behind it that could be misread.
    assert (parsed.whole, parsed.url.decode()) == (1, found[0])
    assert data.endswith(b"\r\n\r\n" + parsed.body)


@given(st.from_regex(r"[A-Za-z0-9._~:-]{1,128}", fullmatch=True))
def test_the_same_bytes_as_on_the_usual_way(id: str) -> None:
    made = overloaded().response(id)
    assert Refusal(overloaded().response).bytes(id) == head_of(made, id) + b"\r\n" + made.body


class TestOverHttp:
    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig(port=0, limits=LimitsConfig(max_concurrent=1))

    def test_unread_and_read_alike(
        self, client: httpx.Client, bundle: FakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One question takes the only place; others are sent away by both ways, and the connection goes on."""
        looked_at: list[tuple[str, str] | None] = []

        def look(data: bytes) -> tuple[str, str] | None:
            if data.startswith(b"POST"):
                looked_at.append(whole_and_alone(data))
            return whole_and_alone(data)

        monkeypatch.setattr("luban.serve.http.direct.whole_and_alone", look)
        url = client.base_url
        body = orjson.dumps({"rows": [{"text": "wait"}] * 50})
        with (
            socket.create_connection((url.host, url.port or 0), timeout=BOUND_S) as first,
            socket.create_connection((url.host, url.port or 0), timeout=BOUND_S) as second,
        ):
            first.sendall(_request(body))
            until(lambda: "luban_open_requests 1" in client.get("/metrics").text)
            unread, read = _asked(second, _request(b"{}")), _asked(second, _request(b"{}", b"Expect: nothing\r\n"))
            assert unread.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"retry-after: 1\r\n" in unread
            assert unread == read
            assert looked_at == [("/v1/predict", "same"), None], "the one unread, the other by the usual way"
            assert orjson.loads(unread.partition(b"\r\n\r\n")[2])["type"] == "urn:luban:problem:overloaded"
            text = client.get("/metrics").text
            assert "luban_shed_requests_total 2" in text
            assert 'luban_problems_total{kind="overloaded"} 2' in text
            bundle.go_on.set()
            assert b" 200 OK" in first.recv(100)
            assert _asked(second, _request(b'{"rows": []}')).startswith(b"HTTP/1.1 200 OK")


def _request(body: bytes, more: bytes = b"") -> bytes:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: same\r\n"
    return head + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _asked(connection: socket.socket, request: bytes) -> bytes:
    """One answer, but for its date."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < int(
        re.search(rb"content-length: (\d+)", answer)[1]  # type: ignore[index]
    ):
        piece = connection.recv(65_536)
        assert piece, answer
        answer += piece
    return re.sub(rb"date: [^\r]*\r\n", b"", answer)
