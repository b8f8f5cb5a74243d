"""A proxy as it is configured for a test, and a server behind it that does no good."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from luban.deploy.proxies.front import FILES, Front, proxy_file
from luban.deploy.proxies.target import ProxyConfig, front_of

from .plans import plan

PROXIES = tuple(FILES)
IPV6 = Path("/proc/net/if_inet6").exists()
"""Whether this machine's kernel has it."""


def configured(proxy: str, folder: Path, ports: list[int], port: int, **changes: object) -> tuple[Path, Front]:
    """The configuration, written to `folder`, for servers at `ports`."""
    deployment = plan(proxy=proxy)
    servers = tuple(f"127.0.0.1:{one}" for one in ports)
    front = front_of(deployment, ProxyConfig(port=port, rate_per_s=0, tls=False, ipv6=IPV6), servers)
    front = replace(front, log=str(folder / "access.log"), **changes)
    file = proxy_file(proxy, "proxy", deployment, front)
    path = folder / file.path
    path.write_text(file.text, "utf-8")
    return path, front


def front_settings(cert: Path) -> dict[str, object]:
    """TLS with this certificate, and no plain port."""
    return {"tls": True, "certificate": str(cert), "certificate_key": f"{cert}.key", "plain_port": 0}


@dataclass
class Broken:
    """A server that is ready, and hangs up on every POST after it has read it."""

    port: int
    asked: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Broken]:
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                asked.append(self.headers["x-request-id"])
                self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join(10)
            server.server_close()
