"""Startup: seconds of a cold process, beside a bare interpreter, and of a server, beside a bare FastAPI.

    python -m benchmarks.startup [--runs 20] [--quick]

Each in turns, so that load falls on all alike. `help` is `luban --help`, `import` is `python -c "import luban"`, both
beside `python -c pass`. `ready` is from the start of `luban serve` on the demo's project, with imports, audit, the
bundle's self-test and warm-up, to the first 200 from /ready; its peer is FastAPI on uvicorn, with a typed
request, no model and nothing to check, in an environment of its own. `resident mb` is what the server holds after some
requests. The demo's project is made first where it is not there, which is not in the figures. The files are in the
page cache: no run is the first since boot.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import emit, median, median_interval, seconds, turns
from benchmarks.peers import peer_python
from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS, champion_of, demo
from benchmarks.soak import resident_mb

NAME = "startup"
PEER = ("fastapi==0.165.0", "uvicorn==0.54.0")
BARE = """
import socket
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Asked(BaseModel):
    rows: list[dict[str, str]]
app = FastAPI()
@app.get("/ready")
def ready() -> dict[str, str]:
    return {"status": "ready"}
@app.post("/v1/predict")
def predict(asked: Asked) -> dict[str, list[str]]:
    return {"answers": ["" for _ in asked.rows]}
listening = socket.create_server(("127.0.0.1", 0))
print("at http://127.0.0.1:%d " % listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[listening])
"""


@contextmanager
def running(command: Sequence[str | Path]) -> Iterator[tuple[str, int]]:
    """A process that prints `at ADDRESS` when it listens; gives the address and the process, and ends it."""
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=STATE_IS_THE_PROJECTS,
    )
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if "at" not in words:
            raise SystemExit(f"It does not serve: {' '.join(map(str, command))}")
        yield words[words.index("at") + 1], process.pid
    finally:
        process.terminate()
        process.wait(30)


def serving(project: Path) -> list[str | Path]:
    return [LUBAN, "serve", "--project", project, "--port", "0"]


def ready(command: Sequence[str | Path]) -> float:
    """Seconds from the start of a server to its first 200 from /ready."""
    start = time.perf_counter()
    with running(command) as (address, _):
        while not answers(f"{address}/ready"):
            time.sleep(0.002)
        return time.perf_counter() - start


def holds_mb(command: Sequence[str | Path]) -> float:
    """Resident memory of a server of the demo after some requests, in MB of 10^6 bytes."""
    with running(command) as (address, process):
        for number in range(300):
            body = json.dumps({"rows": [{"text": f"{number}: 房间干净，服务很好"}]}).encode()
            request = urllib.request.Request(f"{address}/v1/predict", body, {"content-type": "application/json"})
            with urllib.request.urlopen(request, timeout=10) as response:
                response.read()
        return resident_mb(process)


def answers(address: str) -> bool:
    """Whether a GET is answered by 200."""
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False


def cold(*command: str) -> float:
    """Seconds of a process."""
    return seconds(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument("--runs", type=int, default=20, help="processes of each kind")
    parser.add_argument("--quick", action="store_true", help="five runs")
    asked = parser.parse_args()
    runs = 5 if asked.quick else asked.runs
    project = demo(asked.quick)
    bare: list[str | Path] = [peer_python(*PEER), "-c", BARE]
    processes = turns(
        {
            "luban --help": lambda: cold(LUBAN, "--help"),
            "import luban": lambda: cold(sys.executable, "-c", "import luban"),
            "python -c pass": lambda: cold(sys.executable, "-c", "pass"),
        },
        runs,
    )
    servers = turns(
        {"luban serve, ready": lambda: ready(serving(project)), "bare FastAPI, ready": lambda: ready(bare)}, runs
    )
    folder = [LUBAN, "serve", "--bundle", champion_of(project), "--port", "0"]
    for what, command in (("from its project", serving(project)), ("from the bundle's folder", folder)):
        found = [holds_mb(command) for _ in range(3)]
        emit(NAME, f"luban serve, {what}", resident_mb=round(max(found)), limit_mb=200, requests=300)
    limits = {"luban --help": 0.4, "import luban": 0.3, "luban serve, ready": 2.0}
    for what, taken in {**processes, **servers}.items():
        emit(
            NAME,
            what,
            median_s=median(taken, 3),
            interval=median_interval(taken, 3),
            largest_s=round(float(taken.max()), 3),
            limit_s=limits.get(what),
            runs=runs,
        )


if __name__ == "__main__":
    main()
