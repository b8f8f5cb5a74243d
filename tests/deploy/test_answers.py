"""What NGINX and HAProxy say by themselves: problems like the servers' own, from the real programs."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from luban.deploy.proxies.answers import ANSWERS, OWN
from luban.deploy.proxies.front import GRPC
from luban.serve.http.problems import KINDS, MEDIA_TYPE
from ports import free_ports

from .fronted import PROXIES, configured, front_settings
from .running import COMMANDS, certificate, listens, process, program, wait_for

MAX_BYTES = 1_000


def test_a_kind_has_one_status_and_texts_that_both_programs_read() -> None:
    assert not set(OWN) & set(KINDS)
    for status, answer in ANSWERS.items():
        assert answer.status == status
        body = answer.body("$id")
        assert json.loads(body)["type"] == f"urn:luban:problem:{answer.kind}"
        assert not set(body.replace("$id", "")) & set("'$%\\"), "a sign that NGINX or HAProxy reads as its own"
        assert answer.message.isascii()
        assert not set(answer.message) & set('"%')


class Mute(BaseHTTPRequestHandler):
    """Is ready, and answers no POST until the test is over."""

    over = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.over.wait(60)
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def mute(port: int) -> Iterator[None]:
    """Such a server."""
    over = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Own", (Mute,), {"over": over}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        server.shutdown()
        thread.join(20)
        server.server_close()


@dataclass
class Client:
    """Asks a proxy, one connection a request."""

    port: int
    tls: ssl.SSLContext | None

    def problem(self, method: str, path: str, body: bytes | None = None) -> dict[str, object]:
        """The problem that comes back, after all that every problem must have was looked at."""
        if self.tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self.tls)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"X-Request-ID": "mine-1"})
            response = connection.getresponse()
            found: dict[str, object] = json.loads(response.read())
        self.check(response.status, response.headers, found)
        assert found["request_id"] == "mine-1"
        return found

    def sent(self, data: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
        """What comes back for bytes, until the proxy hangs up; status 0 where nothing does."""
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=60))
            link = plain if self.tls is None else stack.enter_context(self._secured(plain))
            link.sendall(data)
            response = http.client.HTTPResponse(link)
            try:
                response.begin()
            except http.client.BadStatusLine:
                return 0, http.client.HTTPMessage(), b""
            return response.status, response.headers, response.read()

    def _secured(self, plain: socket.socket) -> ssl.SSLSocket:
        assert self.tls is not None
        return self.tls.wrap_socket(plain, server_hostname="localhost")

    def check(self, status: int, headers: http.client.HTTPMessage, found: dict[str, object]) -> None:
        answer = ANSWERS[status]
        assert headers["content-type"] == MEDIA_TYPE
        assert (found["type"], found["status"]) == (f"urn:luban:problem:{answer.kind}", status)
        assert headers["x-request-id"] == found["request_id"]
        assert headers["retry-after"] == ("1" if status in (429, 503) else None)
        assert headers["x-content-type-options"] == "nosniff"
        assert ("strict-transport-security" in headers) == (self.tls is not None)


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    program(name)
    return name


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_what_a_proxy_says_is_a_problem(proxy: str, tls: bool, tmp_path: Path) -> None:
    cert, context = certificate(tmp_path)
    server, port = free_ports(2)
    settings = front_settings(cert) if tls else {}
    limits = {"max_body_bytes": MAX_BYTES, "answer_timeout_s": 1, "head_timeout_s": 1, "body_timeout_s": 1}
    config, _ = configured(proxy, tmp_path, [server], port, rate_per_s=1, **limits, **settings)
    client = Client(port, context if tls else None)
    with contextlib.ExitStack() as stack:
        with mute(server):
            stack.enter_context(process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"))
            wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
            assert client.problem("POST", "/v1/feedback", b"{}")["status"] == 504
            assert client.problem("POST", "/v1/predict", b"x" * (MAX_BYTES + 1))["status"] == 413
            assert client.problem("GET", "/metrics")["status"] == 404
        gone = 502 if proxy == "nginx" else 503
        assert client.problem("GET", "/v1/model")["status"] == gone
        _check_slow(proxy, client)
        _until(lambda: client.problem("GET", "/v1/model")["status"], gone, 429)


def _until(ask: Callable[[], object], usual: object, last: object) -> None:
    """Ask as fast as may be until `last` comes; `usual` until then."""
    for _ in range(500):
        found = ask()
        if found == last:
            return
        assert found == usual
    raise AssertionError(f"{last} never came")


def _check_slow(proxy: str, client: Client) -> None:
    """Heads that are no HTTP, and requests that do not end. What a program says there cannot be set in each."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nX-Request-ID: mine-1\r\nContent-Length: 9\r\n"
    status, headers, body = client.sent(b"no HTTP at all\r\n\r\n")
    assert status == 400
    slow_head, _, said = client.sent(head)
    assert (slow_head, b"urn:" in said) == ((0, False) if proxy == "nginx" else (408, False))
    slow_body, of_slow, told = client.sent(head + b"\r\n1")
    if proxy == "nginx":
        client.check(status, headers, json.loads(body))
        status, headers, body = client.sent(b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 40_000 + b"\r\n\r\n")
        assert status == 431
        client.check(status, headers, json.loads(body))
        assert slow_body == 0, "the connection is closed without a word"
    else:
        assert slow_body == 408
        client.check(slow_body, of_slow, json.loads(told))
        assert of_slow["x-request-id"] == "mine-1"


def with_length(port: int, cert: Path) -> list[str]:
    """The head of what a call over HTTP/2 gets whose head says that it is too large; nothing else may come."""
    command = [program("curl"), "--silent", "--http2", "--include", "--cacert", str(cert), "--max-time", "60"]
    command += ["--header", "Content-Type: application/grpc", "--data-binary", "x" * (MAX_BYTES + 1)]
    done = subprocess.run([*command, f"https://localhost:{port}{GRPC}ModelInfer"], capture_output=True, text=True)
    assert done.returncode in (0, 92), done.stderr  # 92: the stream was closed while there was more to send
    head, _, body = done.stdout.partition("\n\n")
    assert not body
    return head.splitlines()


def test_calls_are_told_in_their_own_way(proxy: str, tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc")
    cert, _ = certificate(tmp_path)
    server, at, port = free_ports(3)
    settings = front_settings(cert) | {"grpc_servers": (f"127.0.0.1:{at}",), "max_body_bytes": MAX_BYTES}
    config, _ = configured(proxy, tmp_path, [server], port, rate_per_s=1, **settings)
    with process(COMMANDS[proxy](config, tmp_path), tmp_path / "proxy.log"):
        wait_for(lambda: listens(port), proxy, tmp_path / "proxy.log")
        trusted = grpc.ssl_channel_credentials(cert.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
            call = channel.unary_unary(f"{GRPC}ModelInfer", request_serializer=bytes, response_deserializer=bytes)

            def told(message: bytes) -> tuple[str, str, str]:
                with pytest.raises(grpc.RpcError) as caught:
                    call(message, timeout=60, metadata=(("x-request-id", "mine-1"),))
                error = caught.value
                said = {**dict(error.initial_metadata() or ()), **dict(error.trailing_metadata() or ())}
                assert said["x-request-id"] == "mine-1"
                assert error.details() in {answer.message for answer in ANSWERS.values()}
                return error.code().name, said["luban-problem"], str(said.get("retry-after", ""))

            gone = ("UNAVAILABLE", "no-answer", "") if proxy == "nginx" else ("UNAVAILABLE", "no-server", "1")
            assert told(b"x") == gone
            said = with_length(port, cert)
            assert said[0].split()[1] == "200"
            assert {"content-type: application/grpc", "grpc-status: 3", "luban-problem: too-large"} <= set(said)
            limited = ("RESOURCE_EXHAUSTED", "too-many-requests", "1")
            _until(lambda: told(b"x"), gone, limited)
