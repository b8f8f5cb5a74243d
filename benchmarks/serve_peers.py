"""Throughput and latency over HTTP beside all peers: FastAPI, LitServe, BentoML, MLflow and Ray Serve.

    python -m benchmarks.serve_peers [--seconds 5] [--peers all] [--quick]      # JSON lines

The same table model, requests, cores and guards as in `serve_http`, which measures FastAPI in turns with Luban and says
more. Here one server runs at a time, each is asked by 1, 8, 32 and 128 clients, and nobody takes turns: six servers, of
which two take half a minute to start, would not fit into memory and patience otherwise. So only large ratios tell.
Each peer is its own server around the same graph as its guide has it: one worker, no batching of its own but for what
is on by default. `cpu ratio` is FastAPI's processor time a request over this one's, which other work disturbs less than
the clock does; `ready s` is from the start of the process to the first answer.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import time

from benchmarks.figures import emit
from benchmarks.serve_models import Model, table
from benchmarks.serve_servers import PEERS, closed, ours, peer, requests_of

NAME = "serve_peers"
CLIENTS = (1, 8, 32, 128)


def measured(name: str, model: Model, seconds: float) -> dict[int, dict[str, float]]:
    """What `wrk` says of one server, by number of clients. Raises where it does not serve."""
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ours(model.bundle) if name == "luban" else peer(name, model))
        ready_s, bodies = time.monotonic() - start, requests_of(name, model)
        closed(server, bodies, CLIENTS[1], 1)
        return {clients: {**closed(server, bodies, clients, seconds), "ready_s": ready_s} for clients in CLIENTS}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--peers", default="all", help="all, or names with commas between; fastapi is always there")
    parser.add_argument("--quick", action="store_true", help="one second each, FastAPI alone")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk: not installed (Debian's package wrk)")
    chosen = {"fastapi"} if options.quick else set(PEERS if options.peers == "all" else options.peers.split(","))
    model = table()
    found = {}
    for name in ("fastapi", "luban", *(one for one in PEERS if one != "fastapi" and one in chosen)):
        try:
            found[name] = measured(name, model, 1 if options.quick else options.seconds)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            emit(NAME, f"{name} could not be run", reason=str(error)[:600])
            continue
        for clients, one in found[name].items():
            emit(
                NAME,
                name,
                clients=clients,
                requests_per_s=round(one["per_s"]),
                ratio=round(one["per_s"] / found["fastapi"][clients]["per_s"], 3),
                p50_ms=round(one["p50_ms"], 2),
                p99_ms=round(one["p99_ms"], 2),
                cpu_us=round(one["cpu_us"], 1),
                cpu_ratio=round(found["fastapi"][clients]["cpu_us"] / one["cpu_us"], 3),
                ready_s=round(one["ready_s"], 1),
                not_answered=int(one["refused"] + one["lost"]),
            )


if __name__ == "__main__":
    main()
