"""What one row costs over HTTP, on one kept connection, beside the least that a web server of its kind can do.

    python -m benchmarks.serve_row [--bundle DIR] [--requests 2000] [--quick]      # JSON lines

In turns: `luban` is POST /v1/predict of one row to `luban serve`; `floor` the same web server (uvicorn, uvloop,
httptools) whose application reads the body and gives back a constant answer of the same length. `in process`
is `Bundle.predict` of the same row. Without --bundle the demo's project is served. How soon a server is ready is
measured by `startup`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks.figures import emit, median, median_interval, turns
from benchmarks.projects import LUBAN, bundle_of, demo, one_row
from benchmarks.startup import running
from luban.bundle.bundle import Bundle

NAME = "serve_row"
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


def asked_ms(client: httpx.Client, body: bytes) -> float:
    """Milliseconds of one request."""
    start = time.perf_counter()
    response = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    response.raise_for_status()
    return (time.perf_counter() - start) * 1000


def tell(what: str, taken_ms: np.ndarray) -> None:
    emit(
        NAME,
        what,
        p50_ms=median(taken_ms),
        p95_ms=round(float(np.quantile(taken_ms, 0.95)), 4),
        largest_ms=round(float(taken_ms.max()), 4),
        requests=len(taken_ms),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_row")
    parser.add_argument("--bundle", type=Path, help="a bundle's folder; by default the demo's")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--quick", action="store_true", help="100 requests")
    asked = parser.parse_args()
    requests = 100 if asked.quick else asked.requests
    folder = asked.bundle or bundle_of(demo(asked.quick))
    bundle = Bundle.load(folder)
    row = bundle.example_rows()[:1]
    body = json.dumps({"rows": row}, ensure_ascii=False).encode()
    emit(NAME, "in process", **one_row(bundle, row, requests), requests=requests)
    length = len(json.dumps({"answers": bundle.predict(row).rows()})) + 200
    with (
        running([LUBAN, "serve", "--bundle", folder, "--port", "0"]) as (ours, _),
        running([sys.executable, "-c", FLOOR, str(length)]) as (floor, _),
        httpx.Client(base_url=ours) as one,
        httpx.Client(base_url=floor) as other,
    ):
        taken = turns({"luban": lambda: asked_ms(one, body), "floor": lambda: asked_ms(other, body)}, requests)
    for name, found in taken.items():
        tell(name, found)
    ratios = taken["luban"] / taken["floor"]
    emit(NAME, "luban / floor", ratio=median(ratios, 3), interval=median_interval(ratios, 3))


if __name__ == "__main__":
    main()
