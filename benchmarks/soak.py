"""Soak: a million requests to one server process, and what becomes of its memory.

    python -m benchmarks.soak [--requests 1000000] [--quick]

A released table model (`serve_models`) is served from its project as a user would, with an API key, and answers are
kept in the ledger as the defaults say; 32 clients of `wrk` ask one row each, from another core where there is one.
Resident memory is read ten times on the way. Memory is called flat if a line through what was read after the first
third rises by less than a megabyte in 100,000 requests.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import emit
from benchmarks.projects import LUBAN, STATE_IS_THE_PROJECTS
from benchmarks.serve_models import table

NAME = "soak"
CLIENTS, READINGS, PIECE_S = 32, 10, 5
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {key}"
local bodies = {{ {bodies} }}
local number = 0
request = function()
  number = number % #bodies + 1
  return wrk.format(nil, "/v1/predict", nil, bodies[number])
end
"""


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB of 10^6 bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def asked(wrk: str, address: str, script: Path, core: int) -> tuple[int, int]:
    """Requests that were answered in some seconds, and how many of them not by 200 or not at all."""
    command = ["taskset", "-c", str(core), wrk, "-t1", f"-c{CLIENTS}", f"-d{PIECE_S}s", "-s", str(script), address]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in", text)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    assert total is not None, text
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return int(total[1]), failed


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{NAME}")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 requests")
    given = parser.parse_args()
    wanted = 20_000 if given.quick else given.requests
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    model = table()
    key = secrets.token_urlsafe(24)
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "post.lua"
        bodies = ", ".join(json.dumps(json.dumps({"rows": [row]})) for row in model.rows)
        script.write_text(LUA.format(key=key, bodies=bodies), "utf-8")
        soak(wrk, script, model.folder, key, wanted, cores)


def soak(wrk: str, script: Path, project: Path, key: str, wanted: int, cores: list[int]) -> None:
    """Ask until `wanted` requests were made, and tell what was seen."""
    command = [LUBAN, "serve", "--project", str(project), "--port", "0", "--json"]
    environment = {**STATE_IS_THE_PROJECTS, "LUBAN_API_KEY": key}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        os.sched_setaffinity(process.pid, {cores[-1]})
        address = json.loads(process.stdout.readline())["address"]
        readings, done, failed = [(0, resident_mb(process.pid))], 0, 0
        while done < wanted:
            more, bad = asked(wrk, address, script, cores[0])
            done, failed = done + more, failed + bad
            if done >= wanted * len(readings) / READINGS:
                readings.append((done, resident_mb(process.pid)))
        process.terminate()
        status = process.wait(30)
    late = np.array([one for one in readings if one[0] >= wanted / 3], float)
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0]) * 1e5 if len(late) > 1 else 0.0
    emit(
        NAME,
        f"{done:,} requests",
        requests=done,
        failed=failed,
        memory_mb=[round(mb, 1) for _, mb in readings],
        growth_mb_per_100k=round(slope, 3),
        limit_mb_per_100k=1.0,
        exit_status=status,
    )


if __name__ == "__main__":
    main()
