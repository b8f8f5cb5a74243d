"""Servers, proxies and clients as processes and threads of a test: on loopback, and ended by their own handles."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from waiting import until

LUBAN = Path(sys.executable).with_name("luban")
ASK = json.dumps({"rows": [{"text": "很好", "stars": 5}]})


def program(name: str) -> str:
    """Where a program is, or a skip that says that it is missing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"`{name}` is not installed")
    return found


def wait_for(what: Callable[[], bool], why: str, log: Path | None = None) -> None:
    """Wait until it is so; where that is in vain: what `log` says."""
    until(what, why, log=log)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def process(
    command: list[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose output goes to `log`; ended with the block."""
    with log.open("ab") as out:
        running = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environment or {})})
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def luban(bundle: Path, port: int, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`luban serve --bundle` that is ready."""
    with process([LUBAN, "serve", "--bundle", bundle], log, {"LUBAN__SERVE__PORT": str(port), **settings}) as running:
        wait_for(lambda: running.poll() is not None or ready(port), "the server", log)
        assert running.poll() is None, log.read_text("utf-8")
        try:
            yield running
        finally:
            running.kill()  # not to wait until it has drained


def answered(port: int) -> float:
    """How many predictions a server has counted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    lines = [line for line in text.splitlines() if line.startswith("luban_rows_total")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


@dataclass
class Clients:
    """Threads that ask without a pause, each on one connection; what is not a 200 is noted."""

    port: int
    tls: ssl.SSLContext | None
    num: int = 4
    key: str = ""
    num_answers: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def asking(self) -> Iterator[Clients]:
        threads = [threading.Thread(target=self._ask) for _ in range(self.num)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(30)

    def more(self, num: int) -> None:
        """Wait for so many more answers."""
        goal = self.num_answers + num
        wait_for(lambda: self.num_answers >= goal or bool(self.failures), f"{num} answers")
        assert not self.failures, self.failures[:3]

    def _connect(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.tls)

    def _ask(self) -> None:
        connection = self._connect()
        headers = {"Content-Type": "application/json", **({"X-API-Key": self.key} if self.key else {})}
        while not self._stop.is_set():
            try:
                connection.request("POST", "/v1/predict", ASK.encode(), headers)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._note(f"{type(error).__name__}: {error}")
                connection = self._connect()
                continue
            if response.status != 200 or b'"answers"' not in body:
                self._note(f"{response.status} {body[:300]!r}")
            with self._lock:
                self.num_answers += 1
        connection.close()

    def _note(self, failure: str) -> None:
        with self._lock:
            self.failures.append(failure)
        time.sleep(0.05)


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of `localhost` (its key beside it as `.key`), and a context that trusts it."""
    cert = folder / "cert.pem"
    command = [
        program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", f"{cert}.key", "-out", str(cert), "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return cert, ssl.create_default_context(cafile=str(cert))


def nginx(config: Path, folder: Path) -> list[str | Path]:
    """The command that runs NGINX in the foreground with `config` in its `http` block, all its files in `folder`."""
    places = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = (
        f"daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log stderr warn;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\n{places}include {config};\n}}\n"
    )
    if os.getuid() == 0:
        text = "user root;\n" + text
    main = folder / "main.conf"
    main.write_text(text, "utf-8")
    return [program("nginx"), "-p", folder, "-c", main]


def haproxy(config: Path, folder: Path) -> list[str | Path]:
    """The command that runs HAProxy in the foreground."""
    return [program("haproxy"), "-db", "-f", config]


COMMANDS = {"nginx": nginx, "haproxy": haproxy}
"""The foreground command of each proxy."""
