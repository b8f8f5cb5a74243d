"""Serving over HTTP on one core, beside bare FastAPI; what batching costs; a fixed rate; mixed lengths; too much load.

    python -m benchmarks.serve_http [--seconds 8] [--rounds 3] [--parts peer,overload] [--quick]      # JSON lines

The server, with all it starts, is bound to the first core that this process may use, and the load to the second.
Throughput is by `wrk` (Debian) at so many clients, each with one kept connection and one row a request; latency
under a fixed rate by `serve_open`, from when a request was to leave. All guards of Luban are on: an API key, a
token bucket of requests and one of rows, concurrency with early shedding, the circuit breaker, the check of rows
against the training range. Servers take turns in every round, one at a time; the others are stopped (SIGSTOP)
meanwhile. Figures are medians over rounds.

`fastapi` is the peer to beat: bare FastAPI on uvicorn with uvloop and httptools, a Pydantic body with a list of
rows, the same graph fed with two vectors' arithmetic, one thread; it checks no key and counts nothing. `cpu us` is
processor time of the server per request, which other work on the machine disturbs less than the clock. `ratio` is
to `fastapi`. The other peers are `serve_peers`'."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import emit, median
from benchmarks.serve_models import Model, table, text
from benchmarks.serve_servers import Server, at_rate, closed, cores, ours, peer, requests_of
from luban.bundle.bundle import Bundle

NAME = "serve_http"
CLIENTS = (1, 8, 32, 128)
TARGET = "LUBAN__SERVE__LIMITS__TARGET_MS"
BATCHED_CLIENTS = (1, 2, 8, 32, 128)


def in_turns(
    servers: dict[str, Server], bodies: dict[str, Path], clients: int, seconds: float, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Each server in turn, the others stopped."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
    for server in servers.values():
        server.signal(signal.SIGSTOP)
    for number in range(rounds):
        names = list(servers)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            servers[name].signal(signal.SIGCONT)
            closed(servers[name], bodies[name], clients, 1)
            found[name].append(closed(servers[name], bodies[name], clients, seconds))
            servers[name].signal(signal.SIGSTOP)
    for server in servers.values():
        server.signal(signal.SIGCONT)
    return found


def middle(found: list[dict[str, float]], name: str, digits: int = 1) -> float:
    return median([one[name] for one in found], digits)


def beside_fastapi(model: Model, seconds: float, rounds: int) -> None:
    """Throughput and latency at several numbers of clients."""
    with ours(model.bundle) as luban, peer("fastapi", model) as bare:
        servers = {"luban": luban, "fastapi": bare}
        bodies = {name: requests_of(name, model) for name in servers}
        for clients in CLIENTS:
            found = in_turns(servers, bodies, clients, seconds, rounds)
            base = found["fastapi"]
            for name, one in found.items():
                emit(
                    NAME,
                    name,
                    clients=clients,
                    requests_per_s=middle(one, "per_s", 0),
                    ratio=round(middle(one, "per_s", 3) / middle(base, "per_s", 3), 2),
                    p50_ms=middle(one, "p50_ms", 3),
                    p99_ms=middle(one, "p99_ms", 3),
                    p99_ratio=round(middle(one, "p99_ms", 4) / middle(base, "p99_ms", 4), 3),
                    cpu_us=middle(one, "cpu_us"),
                    not_answered=int(sum(r["refused"] + r["lost"] for r in one)),
                )


def batched(what: str, model: Model, seconds: float, rounds: int) -> None:
    """With and without batching."""
    waiting = {TARGET: "null"}  # Whoever is sent away would be counted as answered.
    with (
        ours(model.bundle, **waiting) as on,
        ours(model.bundle, LUBAN__SERVE__BATCHING__ENABLED="false", **waiting) as off,
    ):
        servers, bodies = {"batched": on, "unbatched": off}, model.bodies()
        for clients in BATCHED_CLIENTS:
            found = in_turns(servers, dict.fromkeys(servers, bodies), clients, seconds, rounds)
            each = np.array([[r["per_s"] for r in found[name]] for name in servers])
            emit(
                NAME,
                f"{what}: batched / unbatched",
                clients=clients,
                batched_per_s=middle(found["batched"], "per_s", 0),
                unbatched_per_s=middle(found["unbatched"], "per_s", 0),
                ratio=median(each[0] / each[1], 3),
                cpu_ratio=round(middle(found["unbatched"], "cpu_us", 2) / middle(found["batched"], "cpu_us", 2), 3),
            )


def fixed_rate(model: Model, seconds: float) -> None:
    """Latency at rates that both hold."""
    bodies = model.bodies()
    with ours(model.bundle) as luban, peer("fastapi", model) as bare:
        for rate in (500, 1000, 2000):
            for name, server, other in (("luban", luban, bare), ("fastapi", bare, luban)):
                other.signal(signal.SIGSTOP)
                found = at_rate(server, bodies, rate, seconds)
                other.signal(signal.SIGCONT)
                p50, p99, largest = found["answered_ms"] or [None] * 3
                emit(
                    NAME, f"{name} at a fixed rate", per_s=rate, p50_ms=p50, p99_ms=p99, largest_ms=largest,
                    statuses=found["statuses"], answered=found["statuses"].get("200", 0),
                )  # fmt: skip


def best_in_process(bundle: Bundle, rows: list[dict[str, Any]], seconds: float) -> tuple[float, float, int]:
    """Rows of `Bundle.predict` a second and a second of processor time, and the size of batch that gives the most."""
    found = []
    for size in (1, 8, 32, 128, 512):
        start, worked, count = time.perf_counter(), time.thread_time(), 0
        while time.perf_counter() < start + seconds:
            at = count % len(rows)
            asked = (rows[at:] + rows[:at])[:size]
            bundle.predict(asked)
            count += len(asked)
        found.append((count / (time.perf_counter() - start), count / (time.thread_time() - worked), size))
    return max(found)


def mixed_lengths(model: Model, seconds: float, rounds: int) -> None:
    """The text model: over HTTP beside the best that there is in process, on the server's core."""
    before = os.sched_getaffinity(0)
    bodies, bundle = model.bodies(most=2000), Bundle.load(model.bundle)
    with ours(model.bundle, **{TARGET: "null"}) as server:
        found = []
        for _ in range(rounds):
            server.signal(signal.SIGSTOP)
            os.sched_setaffinity(0, {int(cores()[0])})
            best = best_in_process(bundle, model.rows, seconds / 5)
            os.sched_setaffinity(0, before)
            server.signal(signal.SIGCONT)
            found += [(clients, closed(server, bodies, clients, seconds), best) for clients in (32, 128)]
    for clients in (32, 128):
        chosen = [(over_http, best) for number, over_http, best in found if number == clients]
        emit(
            NAME,
            "texts of mixed lengths",
            clients=clients,
            texts_per_s=median([http["per_s"] for http, _ in chosen], 0),
            best_in_process_per_s=median([best[0] for _, best in chosen], 0),
            of_rows=chosen[0][1][2],
            ratio=median([http["per_s"] / best[0] for http, best in chosen], 3),
            cpu_ratio=median([1e6 / http["cpu_us"] / best[1] for http, best in chosen], 3),
            not_answered=int(sum(http["refused"] + http["lost"] for http, _ in chosen)),
        )


def overload(what: str, model: Model, seconds: float, target_ms: float) -> None:
    """Twice the most it can do, by a target and as it is: who is let in is answered in time, the rest is sent away."""
    bodies = model.bodies(rows_each=1, most=2000)
    with ours(model.bundle, **{TARGET: "null"}) as server:
        capacity = closed(server, bodies, 32, min(seconds, 5))["per_s"]
    for target, settings in ((f"{target_ms:g}", {TARGET: str(target_ms)}), ("as it is", {})):
        with ours(model.bundle, **settings) as server:
            closed(server, bodies, 2, 1)
            calm = at_rate(server, bodies, 0.5 * capacity, min(seconds, 10))
            heavy = at_rate(server, bodies, 2 * capacity, seconds)
        calm_p99, (p50, p99, largest) = calm["answered_ms"][1], heavy["answered_ms"]
        refused = heavy["refused_ms"] or [None] * 3
        emit(
            NAME, f"{what}: twice the capacity", target_ms=target, capacity_per_s=round(capacity), seconds=seconds,
            unloaded_p99_ms=calm_p99, p50_ms=p50, p99_ms=p99, ratio=round(p99 / calm_p99, 2), largest_ms=largest,
            refused_p50_ms=refused[0], refused_p99_ms=refused[1], left_late_p99_ms=heavy["late_ms"][1],
            answered=heavy["statuses"].get("200", 0),
            refused=sum(heavy["statuses"].get(one, 0) for one in ("429", "503")),
            lost=sum(count for status, count in heavy["statuses"].items() if status not in ("200", "429", "503")),
        )  # fmt: skip


def ready(model: Model, runs: int) -> None:
    """Seconds from the start of the process to the first 200 of /ready, and memory after some requests."""
    taken, memory = [], []
    for _ in range(runs):
        start = time.perf_counter()
        with ours(model.bundle) as server:
            taken.append(time.perf_counter() - start)
            closed(server, model.bodies(), 32, 2)
            memory.append(server.rss_mb())
    emit(NAME, "ready", median_s=median(taken, 2), largest_s=round(max(taken), 2), rss_mb=median(memory, 0), runs=runs)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve_http")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="peer,batched,rate,text,overload,ready", help="what to measure")
    parser.add_argument("--quick", action="store_true", help="one second, one round")
    asked = parser.parse_args()
    missing = [program for program in ("wrk", "taskset") if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"{' and '.join(missing)}: not installed (Debian's packages wrk and util-linux)")
    seconds, rounds = (1.0, 1) if asked.quick else (asked.seconds, asked.rounds)
    parts = asked.parts.split(",")
    model = table()
    words = text(asked.quick) if {"text", "overload"} & {*parts} else model
    if "peer" in parts:
        beside_fastapi(model, seconds, rounds)
    if "batched" in parts:
        batched("table", model, seconds, rounds)
    if "rate" in parts:
        fixed_rate(model, seconds)
    if "text" in parts:
        mixed_lengths(words, seconds, rounds)
        batched("texts", words, seconds, rounds)
    if "overload" in parts:
        overload("texts", words, 5 if asked.quick else 60, target_ms=5)
        overload("table", model, 5 if asked.quick else 60, target_ms=1)
    if "ready" in parts:
        ready(model, 2 if asked.quick else 7)


if __name__ == "__main__":
    main()
