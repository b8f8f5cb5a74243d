"""Servers of the serving benchmarks: Luban with its guards and its peers, each bound to one core, and what loads them.

A peer runs in an environment of its own (`peers.py`) as `python -m benchmarks.serve_NAME`. Knows nothing of what is
measured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers import ONE_THREAD, ROOT, peer_python
from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS
from benchmarks.serve_models import Model

KEY = "a-key-of-the-benchmarks-0123456789"
GUARDS = {
    "LUBAN_API_KEY": KEY,
    "LUBAN__SERVE__LIMITS__REQUESTS": '{"rate_per_s": 1000000, "burst": 1000000}',
    "LUBAN__SERVE__LIMITS__ROWS": '{"rate_per_s": 1000000, "burst": 1000000}',
    "LUBAN__SERVE__ROWS__OUTSIDE": "mark",
}
PEER_START_S = 300.0
"""Time that a peer has to listen: some read half of what is installed first, which takes a busy machine minutes."""
RUNTIME = ("onnxruntime==1.31.1", "numpy==2.4.6")
PEERS = {
    "fastapi": ("fastapi==0.165.0", "uvicorn[standard]==0.54.0", *RUNTIME),
    "litserve": ("litserve==0.2.19", *RUNTIME),
    "bentoml": ("bentoml==1.4.36", "onnxruntime==1.31.1"),
    "mlflow": ("mlflow==3.16.0", "onnxruntime==1.31.1"),
    "rayserve": ("ray[serve]==2.60.0", *RUNTIME),
}
PATHS = {"mlflow": "/invocations"}


@dataclass
class Server:
    """A server that runs, bound to its core."""

    process: subprocess.Popen[bytes]
    address: str
    path: str = "/v1/predict"
    key: str = ""
    pids: list[int] = field(default_factory=list)

    def all_pids(self) -> list[int]:
        """The process and all it started."""
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    todo += map(int, (task / "children").read_text().split())
        return found

    def signal(self, number: int) -> None:
        """To all of it."""
        for pid in self.all_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def cpu_s(self) -> float:
        """Processor time so far."""
        ticks = 0
        for pid in self.all_pids():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cores() -> tuple[str, str]:
    """Where the server runs, and where the load."""
    found = sorted(os.sched_getaffinity(0))
    return str(found[0]), str(found[min(1, len(found) - 1)])


@contextlib.contextmanager
def running(command: Sequence[str | Path], port: int, wait_s: float, **more: str) -> Iterator[Server]:
    """A server that answers at `port`; ended with all it started."""
    environment = {**STATE_IS_THE_PROJECTS, **ONE_THREAD, **more}
    process = subprocess.Popen(
        ["taskset", "-c", cores()[0], *map(str, command)],
        cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + wait_s
        while not listens(port):
            if process.poll() is not None or time.monotonic() > end:
                how = f"{wait_s:g} s were not enough" if process.poll() is None else f"status {process.poll()}"
                raise RuntimeError(f"It does not serve: {how}. By hand: {' '.join(map(str, command))}")
            time.sleep(0.01)
        yield server
    finally:
        server.signal(signal.SIGCONT)
        pids = server.all_pids()
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def ours(bundle: Path, **settings: str) -> Iterator[Server]:
    """`luban serve` with all guards; `settings` are environment variables."""
    port = free_port()
    command: list[str | Path] = [LUBAN, "serve", "--bundle", bundle, "--port", str(port)]
    with running(command, port, 30, **GUARDS, **settings) as server:
        server.key = KEY
        while not answers(f"{server.address}/ready"):
            time.sleep(0.005)
        yield server


@contextlib.contextmanager
def peer(name: str, model: Model) -> Iterator[Server]:
    """One of PEERS, in its own environment."""
    port, python = free_port(), peer_python(*PEERS[name])
    # So that `python` finds the programs of its own environment.
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    command: list[str | Path] = [python, "-m", f"benchmarks.serve_{name}", model.folder, str(port)]
    with running(command, port, PEER_START_S, PATH=path) as server:
        server.path = PATHS.get(name, server.path)
        body = requests_of(name, model).read_text("utf-8").splitlines()[0].encode()
        end = time.monotonic() + 60
        while not answers(server.address + server.path, body):
            if time.monotonic() > end:
                raise RuntimeError(f"{name} does not answer")
            time.sleep(0.05)
        yield server


def answers(address: str, body: bytes | None = None) -> bool:
    """Whether a request is answered by 200."""
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def requests_of(name: str, model: Model) -> Path:
    """The bodies as this server takes them."""
    bodies = model.bodies()
    if name != "mlflow":
        return bodies
    path = model.folder / "bodies-mlflow.txt"
    lines = [json.dumps({"dataframe_records": json.loads(line)["rows"]}) for line in bodies.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def closed(server: Server, bodies: Path, clients: int, seconds: float) -> dict[str, float]:
    """What `wrk` measures of so many clients that ask again as soon as they are answered."""
    script = Path(__file__).parent / "serve_post.lua"
    command: list[str | Path] = ["wrk", "-t1", f"-c{clients}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
    command += ["-s", script]
    before = server.cpu_s()
    found = told([*command, server.address + server.path, "--", bodies, *([server.key] if server.key else [])])
    found["cpu_us"] = (server.cpu_s() - before) / max(found["requests"], 1) * 1e6
    found["per_s"] = found["requests"] / found["seconds"]
    return found


def told(command: Sequence[str | Path]) -> dict[str, Any]:
    """The last line that the load says, which is JSON; it runs on its core."""
    words = ["taskset", "-c", cores()[1], *map(str, command)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def at_rate(server: Server, bodies: Path, rate: float, seconds: float) -> dict[str, Any]:
    """What the open-loop generator measures."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.serve_open",
        server.address,
        bodies,
        f"{rate:g}",
        f"{seconds:g}",
    ]
    return told([*command, "--key", server.key])
