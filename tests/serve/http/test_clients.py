"""Clients that are slow, half open, too many or gone: bounded, and never in the others' way."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.server import serving
from waiting import until

from ..conftest import FakeBundle, HandOrigin

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig(port=0, head_timeout_s=1, body_timeout_s=1, num_threads=1, max_waiting=2)


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    pieces = b""
    while piece := connection.recv(65_536):
        pieces += piece
    return pieces


def test_silence_is_cut_off(client: httpx.Client) -> None:
    with connect(client) as connection:
        assert b"400 Bad Request" in read_all(connection)


def test_half_a_head_is_cut_off(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(HEAD[:30])
        assert b"too slow or too long" in read_all(connection)


def test_a_second_head_is_timed_too(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in connection.recv(65_536)
        connection.sendall(b"GET /hea")
        assert b"400 Bad Request" in read_all(connection)


def test_a_head_without_end_is_cut_off(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        try:
            for _ in range(200):
                connection.sendall(b"X-Filler: " + b"x" * 1000 + b"\r\n")
            assert b"400 Bad Request" in read_all(connection)
        except (ConnectionResetError, BrokenPipeError):
            pass  # The server closed while the client was still sending.
    assert client.get("/health").status_code == 200


def test_half_a_body_is_answered_408(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(HEAD + b'{"rows"')
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:luban:problem:too-slow" in answer


def test_no_http_at_all(client: httpx.Client) -> None:
    with connect(client) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        assert b"400 Bad Request" in read_all(connection)


def test_a_client_that_goes_away_is_counted_and_nothing_else(client: httpx.Client) -> None:
    connection = connect(client)
    connection.sendall(HEAD + b'{"rows"')
    connection.close()
    line = 'luban_requests_total{route="/v1/predict",status="499"} 1.0'
    until(lambda: line in client.get("/metrics").text)


def test_large_requests_wait_in_line_and_health_does_not(client: httpx.Client, bundle: FakeBundle) -> None:
    large = {"rows": [{"text": "wait"}] * 50}
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(httpx.post, f"{client.base_url}/v1/predict", json=large, timeout=10) for _ in range(2)]
        until(lambda: "luban_queue_requests 2.0" in client.get("/metrics").text)
        refused = client.post("/v1/predict", json=large)
        assert refused.json()["type"] == "urn:luban:problem:busy"
        assert refused.headers["retry-after"] == "1"
        started = time.monotonic()
        assert client.get("/health").status_code == 200
        assert client.post("/v1/predict", json={"rows": [{"text": "a"}]}).status_code == 200
        assert time.monotonic() - started < 9, "health waited for the large requests"
        bundle.go_on.set()
        assert [future.result().status_code for future in waiting] == [200, 200]


def test_requests_that_run_are_finished_before_it_stops(origin: HandOrigin, bundle: FakeBundle) -> None:
    with ThreadPoolExecutor(1) as pool:
        with serving(origin, ServeConfig(port=0), {}) as address:
            rows = [{"text": "wait"}] * 50
            asked = pool.submit(httpx.post, f"{address}/v1/predict", json={"rows": rows}, timeout=10)
            until(lambda: "luban_queue_requests 1.0" in httpx.get(f"{address}/metrics").text)
            threading.Timer(0.3, bundle.go_on.set).start()
        assert asked.result().status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/health")


def test_pipelined_requests_are_answered_in_order(client: httpx.Client) -> None:
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: %d\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 3\r\nConnection: close\r\n\r\n"
    with connect(client) as connection:
        connection.sendall(one % 1 + one % 2 + last)
        answer = read_all(connection)
    found = [line for line in answer.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert found == [b"x-request-id: 1", b"x-request-id: 2", b"x-request-id: 3"]
