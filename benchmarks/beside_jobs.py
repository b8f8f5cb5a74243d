"""Beside a job: how long live requests take while the same server's file of many rows is answered in the background.

    python -m benchmarks.beside_jobs [--rate 200] [--seconds 10] [--rounds 3] [--quick]

The released table model (`serve_models`) is served from its project; one row a request leaves at a fixed rate
(`serve_open`, open loop), first calm, then from the moment on at which a CSV of 10⁶ rows is handed in, so that the
start of the job's process is within the time; then the job is cancelled. In turns, so that load falls on both alike.
`one core`: server and job share one, the generator has the other; `two cores`: all three have both, as on a small
machine. `job rows per s` is what the job got done meanwhile, `job running` whether it was at work until the end: else
nothing was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import emit
from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS
from benchmarks.serve_models import Model, table
from benchmarks.serve_servers import GUARDS, KEY

NAME = "beside_jobs"
ROWS = 1_000_000
SETTINGS = {"LUBAN__SERVE__LIMITS__ROWS": "null", "LUBAN__SERVE__JOBS__IDLE_S": "0.5"}


class Live:
    """A server, its address, and the cores on which server, job and generator run."""

    def __init__(self, address: str, generator: str) -> None:
        self.address = address
        self._generator = generator

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "text/csv") -> dict[str, Any]:
        """One call of the API."""
        heads = {"content-type": kind, "authorization": f"Bearer {KEY}"}
        request = urllib.request.Request(self.address + path, body, heads, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            found: dict[str, Any] = json.loads(response.read() or b"{}")
            return found

    def taken(self, bodies: Path, rate: float, seconds: float) -> dict[str, Any]:
        """What the generator measures."""
        words = ["taskset", "-c", self._generator, sys.executable, "-m", "benchmarks.serve_open"]
        words += [self.address, str(bodies), f"{rate:g}", f"{seconds:g}", "--key", KEY, "--rests"]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


@contextlib.contextmanager
def served(project: Path, server_cores: str, generator: str) -> Iterator[Live]:
    """`luban serve` of a copy of the project, so that records of before are not in the way."""
    command = ["taskset", "-c", server_cores, LUBAN, "serve", "--project", str(project), "--port", "0", "--json"]
    environment = {**STATE_IS_THE_PROJECTS, **GUARDS, **SETTINGS}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield Live(json.loads(process.stdout.readline())["address"], generator)
        finally:
            process.terminate()
            process.wait(30)


def table_file(model: Model, rows: int) -> bytes:
    """A CSV of so many rows."""
    names = list(model.rows[0])
    lines = [",".join(str(row[name]) for name in names) + "\n" for row in model.rows]
    return (",".join(names) + "\n" + "".join(lines) * (rows // len(lines))).encode()


def one_round(live: Live, model: Model, file: bytes, rate: float, seconds: float) -> tuple[dict[str, Any], ...]:
    """Calm, and beside a job."""
    bodies = model.bodies()
    calm = live.taken(bodies, rate, seconds)
    job = live.ask("POST", "/v1/jobs", file)["id"]
    began = time.monotonic()
    beside = live.taken(bodies, rate, seconds)
    state = live.ask("GET", f"/v1/jobs/{job}")
    lasted = time.monotonic() - began
    with contextlib.suppress(urllib.error.HTTPError):
        live.ask("DELETE", f"/v1/jobs/{job}")
    while live.ask("GET", f"/v1/jobs/{job}")["status"] == "running":
        time.sleep(0.1)
    time.sleep(3.0)  # its process ends, so that the next one's start is measured, too
    job_rows = {"rows_per_s": state["counts"].get("rows", 0) / lasted, "running": state["status"] == "running"}
    return calm, {**beside, **job_rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--rate", type=float, default=200.0, help="live requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round")
    asked = parser.parse_args()
    seconds, rounds = (3.0, 1) if asked.quick else (asked.seconds, asked.rounds)
    model, cores = table(), [str(core) for core in sorted(os.sched_getaffinity(0))]
    file = table_file(model, ROWS)
    both = ",".join(cores[:2])
    for what, server, generator in (("one core", cores[0], cores[-1]), ("two cores", both, both)):
        with tempfile.TemporaryDirectory() as place:
            project = Path(place) / "project"
            shutil.copytree(model.folder, project)
            with served(project, server, generator) as live:
                live.taken(model.bodies(), asked.rate, 1.0)
                found = [one_round(live, model, file, asked.rate, seconds) for _ in range(rounds)]
        for when, position in (("calm", 0), ("beside a job", 1)):
            told(f"{what}, {when}", [pair[position] for pair in found], asked.rate)


def told(what: str, found: list[dict[str, Any]], rate: float) -> None:
    """The medians of the rounds."""
    quantiles = np.median([one["answered_ms"] for one in found], axis=0)
    answered = sum(one["statuses"].get("200", 0) for one in found)
    emit(
        NAME,
        what,
        requests_per_s=rate,
        p50_ms=round(float(quantiles[0]), 2),
        p99_ms=round(float(quantiles[1]), 2),
        largest_ms=round(float(max(one["answered_ms"][2] for one in found)), 1),
        answered=answered,
        not_answered=sum(sum(one["statuses"].values()) for one in found) - answered,
        job_rows_per_s=round(float(np.median([one["rows_per_s"] for one in found]))) if "running" in found[0] else None,
        job_running=all(one["running"] for one in found) if "running" in found[0] else None,
    )


if __name__ == "__main__":
    main()
