"""The client, given what people give it: keys of files, names in any script, addresses of IPv6, files that are gone."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from luban.client import Client
from luban.errors import ConfigError, DataError

SEEN: list[tuple[str, dict[str, str]]] = []
ANSWER = b'{"answers": [], "model": "m", "version": 1, "identity": "x", "request_id": "r"}'


class Answering(BaseHTTPRequestHandler):
    """Answers all, and notes what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def do_GET(self) -> None:
        SEEN.append((self.path, dict(self.headers)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Six(ThreadingHTTPServer):
    """The same on IPv6."""

    address_family = socket.AF_INET6


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    SEEN.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as found:
        found.daemon_threads = True
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_a_key_out_of_a_file_and_a_name_in_chinese(server: ThreadingHTTPServer) -> None:
    with Client(url(server), "0123456789abcdef\n") as client:
        client.predict([], sticky="张三")
    ((_, headers),) = SEEN
    assert headers["Authorization"] == "Bearer 0123456789abcdef"
    assert headers["X-Sticky-Key"].encode("latin-1").decode("utf-8") == "张三", "the bytes that curl sends"


def test_what_cannot_be_a_header_is_refused_before_it_is_sent(server: ThreadingHTTPServer) -> None:
    with Client(url(server)) as client, pytest.raises(ConfigError, match="X-Sticky-Key"):
        client.predict([], sticky="a\r\nX-Admin: yes")
    for key in ("钥匙", "two\nlines"):
        with pytest.raises(ConfigError, match="`key`") as caught:
            Client(url(server), key)
        assert key not in str(caught.value)
    assert SEEN == []


def test_threads_that_end_leave_no_connection_open(server: ThreadingHTTPServer) -> None:
    with Client(url(server)) as client:
        for _ in range(20):
            thread = threading.Thread(target=client.predict, args=([],))
            thread.start()
            thread.join()
        gc.collect()
        assert len(client._wire._all) <= 1
    assert len(SEEN) == 20


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this kernel has no IPv6")
def test_an_address_of_ipv6() -> None:
    SEEN.clear()
    with Six(("::1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with Client(f"http://[::1]:{server.server_port}") as client:
            assert client.is_ready()
        server.shutdown()
        thread.join()
    with Client("http://[::1]") as client:
        assert (client._wire._host, client._wire._port) == ("::1", 80)
        connection = client._wire._connection()
        assert (connection.host, connection.port) == ("::1", 80)


def test_a_file_that_is_gone_is_no_server_that_is_gone(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    with Client(url(server)) as client, pytest.raises(DataError, match=r"no file .*rows\.csv"):
        client.jobs.submit(tmp_path / "rows.csv")
    assert SEEN == []


def test_an_id_stays_within_its_path(server: ThreadingHTTPServer) -> None:
    with Client(url(server)) as client, pytest.raises(KeyError):
        client.jobs.get("../admin?x=1")
    assert SEEN[0][0] == "/v1/jobs/..%2Fadmin%3Fx%3D1"
