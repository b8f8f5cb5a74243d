"""Bodies that are deep, huge, cut short, slow or strange: answered or refused, never a fault of the server."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.serve.config import ServeConfig
from luban.serve.server import serving
from waiting import until

from ..conftest import FakeBundle, HandOrigin

JSON = {"content-type": "application/json"}
PATHS = ("/v1/predict", "/v1/models/reviews/predict")


CONFIG = ServeConfig(port=0, max_body_bytes=2_000_000, body_timeout_s=1, head_timeout_s=1)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """One server for all: what comes later shows that it took no harm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("luban.serve.fleet.live.load", lambda folder, num_threads=1: FakeBundle())
        with serving(HandOrigin(), CONFIG, {}) as address, httpx.Client(base_url=address, timeout=10) as client:
            yield client


def post(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post("/v1/predict", content=body, headers=JSON)


def nested(depth: int, opening: str = "[", closing: str = "]") -> bytes:
    return b'{"rows": ' + opening.encode() * depth + closing.encode() * depth + b"}"


@pytest.mark.parametrize("depth", [1, 100, 1000, 1022, 1023, 1024, 1025, 10_000, 900_000])
def test_deep_lists(client: httpx.Client, depth: int) -> None:
    found = post(client, nested(depth))
    assert found.status_code == (200 if depth < 1024 else 400), found.text
    if depth >= 1024:
        assert found.json()["type"] == "urn:luban:problem:not-json"


@pytest.mark.parametrize("depth", [10, 1000, 10_000, 100_000])
def test_deep_objects_and_options(client: httpx.Client, depth: int) -> None:
    for start in (b'{"rows": [', b'{"rows": [], "options": '):
        body = start + b'{"a":' * depth + b"1" + b"}" * depth + (b"]}" if b"options" not in start else b"}")
        assert post(client, body).status_code in (200, 400, 422)
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"rows": [{"stars": ' + b"9" * 300 + b"}]}", (200,)),
        (b'{"rows": [{"stars": ' + b"9" * 5000 + b"}]}", (200, 400)),
        (b'{"rows": [{"stars": 1e400}]}', (200, 400)),
        (b'{"rows": [{"stars": -1e-400}]}', (200, 400)),
        (b'{"rows": [{"' + b"k" * 1_000_000 + b'": 1}]}', (200,)),
        (b'{"rows": [{' + b",".join(b'"%d": 1' % number for number in range(100_000)) + b"}]}", (200,)),
        (b'{"rows": [' + b",".join([b"{}"] * 10_001) + b"]}", (413,)),
        (b'{"rows": [{"text": "' + b"\\u0000" * 100_000 + b'"}]}', (200,)),
        (b'{"rows": [{"text": "\\ud800"}]}', (200, 400)),
        (b'{"rows": [{"text": "\xff\xfe"}]}', (400,)),
        (b'{"rows": [], "rows": [{"text": "a"}]}', (200,)),
        (b"\xef\xbb\xbf" + b'{"rows": []}', (200, 400)),
        (b" " * 1_900_000 + b'{"rows": []}', (200,)),
        (b'{"rows": []}' * 2, (400,)),
        (b"null", (422,)),
        (b"", (400,)),
    ],
)
def test_strange_bodies(client: httpx.Client, body: bytes, status: tuple[int, ...]) -> None:
    found = post(client, body)
    assert found.status_code in status, found.text[:300]
    assert len(found.content) < 2_000_000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "stars", "a"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(
    body=st.dictionaries(st.sampled_from(["rows", "options", "explain", "x"]), VALUES, max_size=3),
    cut=st.integers(0, 40),
)
def test_any_json_whole_or_cut(client: httpx.Client, body: Any, cut: int) -> None:
    text = json.dumps(body).encode()
    for piece in (text, text[: max(0, len(text) - cut)]):
        found = post(client, piece)
        assert found.status_code in (200, 400, 413, 422), found.text
        assert found.json()["request_id"]


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)


def head(path: str, length: int | str, more: str = "") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}"
    return f"{lines}Content-Length: {length}\r\n\r\n".encode()


def gone(client: httpx.Client) -> float:
    """Requests whose clients went away."""
    lines = [line for line in client.get("/metrics").text.splitlines() if 'status="499"' in line]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", [0, 1, 11])
def test_a_body_cut_short_by_a_client_that_goes(client: httpx.Client, path: str, sent: int) -> None:
    before = gone(client)
    with connect(client) as connection:
        connection.sendall(head(path, 12) + b'{"rows": []}'[:sent])
    until(lambda: gone(client) > before)
    assert post(client, b'{"rows": []}').status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_comes_byte_by_byte_has_its_time(client: httpx.Client, path: str) -> None:
    with connect(client) as connection:
        connection.sendall(head(path, 1000))
        answer = b""
        connection.settimeout(0.05)
        for _ in range(100):
            try:
                connection.sendall(b" ")
                answer = connection.recv(65_536)
                break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408")


def test_many_half_open_clients_are_in_nobodys_way(client: httpx.Client) -> None:
    open_ones = []
    for number in range(100):
        open_ones.append(one := connect(client))
        one.sendall((b"", b"POST /v1", head(PATHS[0], 500), head(PATHS[0], 500) + b'{"rows"')[number % 4])
    assert post(client, b'{"rows": [{"text": "a"}]}').status_code == 200
    ended = 0
    for one in open_ones:
        one.settimeout(10)
        with one:
            while piece := one.recv(65_536):
                ended += piece.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408"))
    assert ended == 100
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "lies",
    [
        head(PATHS[0], 5) + b'{"rows": []}',
        head(PATHS[0], "-1"),
        head(PATHS[0], "x"),
        head(PATHS[0], 12, "Content-Length: 3\r\n") + b'{"rows": []}',
        head(PATHS[0], 12, "Transfer-Encoding: chunked\r\n") + b'{"rows": []}',
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00" * 100,
    ],
)
def test_heads_that_lie(client: httpx.Client, lies: bytes) -> None:
    """Refused, and nothing that stood behind them is taken for another request."""
    with connect(client) as connection:
        connection.sendall(lies)
        answer = b""
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except ConnectionResetError:
            pass
    assert answer.count(b"HTTP/1.1 200") == 0
    assert b" 500 " not in answer
    started = time.monotonic()
    assert client.get("/health").status_code == 200
    assert time.monotonic() - started < 9


def test_names_that_nobody_has_cost_little(client: httpx.Client) -> None:
    """What was perhaps meant is looked for in short names of the first rows alone: it takes time, on the event loop."""
    rows = [{f"text{n}": "a"} for n in range(1000)]
    answers = client.post("/v1/predict", json={"rows": rows}).json()["answers"]
    assert [answer["error"].endswith("did you mean `text`?") for answer in answers] == [n < 5 for n in range(1000)]
    assert all(f"no column `text{n}`" in answer["error"] for n, answer in enumerate(answers))
    long = "x" * 1_000_000
    for body in ({"rows": [{long: 1}]}, {"rows": [], long: 1}, {"rows": [], "options": {long: 1}}):
        assert len(client.post("/v1/predict", json=body).content) < 5000 or "options" in body
    assert client.get("/" + "x" * 60_000).json()["detail"] == "This server does not have that path."


@pytest.mark.parametrize("options", [{f"a{n}": 1 for n in range(2000)}, {"a": [{"b": [0] * 500}] * 3}])
def test_options_of_very_many_values(options: dict[str, object], client: httpx.Client) -> None:
    """Each would be a mistake that is told: the answer was many times as long as what was asked."""
    refused = client.post("/v1/predict", json={"rows": [{"text": "a"}], "options": options})
    assert refused.status_code == 422
    assert len(refused.content) < 1000
