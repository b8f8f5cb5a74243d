"""How soon a server is ready, and what one row costs over HTTP.

    python benchmarks/serve_ready.py BUNDLE [starts] [requests]      # JSON lines; defaults 7 and 2000

ready: seconds from starting a process (`luban serve --bundle BUNDLE --port 0`) to its first 200 from
/ready; imports, audit, self-test and warm-up are in it. row: milliseconds of one row, one client, one
kept connection, against a floor in turns: the same web server whose application reads the body and gives
back a constant answer of the same length. `in_process` is `Bundle.predict` of the same row.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from luban.bundle.bundle import Bundle

FLOOR = """
import socket, sys, uvicorn
body = b"x" * int(sys.argv[1])
headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
async def app(scope, receive, send):
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
listening = socket.create_server(("127.0.0.1", 0))
print("at http://127.0.0.1:%d " % listening.getsockname()[1], flush=True)
config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off")
uvicorn.Server(config).run(sockets=[listening])
"""


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[str]:
    """A process that prints `at ADDRESS` when it listens; gives the address, and ends the process."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        yield words[words.index("at") + 1]
    finally:
        process.terminate()
        process.wait(30)


def serving(bundle: str) -> list[str]:
    return [str(Path(sys.executable).parent / "luban"), "serve", "--bundle", bundle, "--port", "0"]


def ready(bundle: str) -> float:
    """Seconds from start to the first 200 from /ready."""
    start = time.perf_counter()
    with running(serving(bundle)) as address:
        while httpx.get(f"{address}/ready").status_code != 200:
            time.sleep(0.005)
        return time.perf_counter() - start


def once(client: httpx.Client, body: bytes) -> float:
    start = time.perf_counter()
    response = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 200
    return (time.perf_counter() - start) * 1000


def tell(what: str, values: list[float], unit: str) -> float:
    """Print median, 95th percentile and largest; gives the median."""
    ordered = sorted(values)
    figures = {"p50": statistics.median(ordered), "p95": ordered[int(len(ordered) * 0.95)], "max": ordered[-1]}
    print(json.dumps({"what": what, "unit": unit, "n": len(values), **{k: round(v, 4) for k, v in figures.items()}}))
    return figures["p50"]


def main(bundle: str, starts: str = "7", requests: str = "2000") -> None:
    tell("ready", [ready(bundle) for _ in range(int(starts))], "s")
    loaded = Bundle.load(bundle)
    row = loaded.example_rows()[:1]
    body = json.dumps({"rows": row}, ensure_ascii=False).encode()
    inside = []
    for _ in range(int(requests)):
        start = time.perf_counter()
        loaded.predict(row)
        inside.append((time.perf_counter() - start) * 1000)
    tell("in_process", inside, "ms")
    length = len(json.dumps({"answers": loaded.predict(row).rows()})) + 200
    with (
        running(serving(bundle)) as ours,
        running([sys.executable, "-c", FLOOR, str(length)]) as floor,
        httpx.Client(base_url=ours) as one,
        httpx.Client(base_url=floor) as other,
    ):
        times = [(once(one, body), once(other, body)) for _ in range(int(requests))]
    mine = tell("row", [a for a, _ in times], "ms")
    least = tell("floor", [b for _, b in times], "ms")
    print(json.dumps({"what": "row / floor", "ratio": round(mine / least, 3)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
