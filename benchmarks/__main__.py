"""All benchmarks, or those that are named, each as a process of its own.

    python -m benchmarks [NAME …] [--quick] [--no-page]

Their lines of JSON are passed on as they come, with one line before each of the machine and its load. What ran whole
goes to docs/benchmarks.md; `--quick` (small sizes, to see that all works) and `--no-page` leave it alone. Exit status 1
where a benchmark failed; the others are run all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from typing import Any

from benchmarks.figures import emit
from benchmarks.page import update
from benchmarks.peers import ROOT

BENCHMARKS = (
    "reviews",
    "reviews_neural",
    "tables",
    "pictures",
    "near_duplicates",
    "prepare_rows",
    "ngrams",
    "startup",
    "serve_row",
    "serve_http",
    "serve_peers",
    "beside_jobs",
    "soak",
    "traffic",
    "openapi_calls",
    "report",
    "shapley",
    "loop",
    "fine_tune",
)


def measured(name: str, quick: bool) -> list[dict[str, Any]] | None:
    """The lines of one benchmark, shown as they come; None where it failed."""
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    lines: list[dict[str, Any]] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(json.loads(line))
    if process.returncode:
        print(f"{name} ended with status {process.returncode}", file=sys.stderr)
        return None
    return lines


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", choices=("all", *BENCHMARKS), default="all", help="by default all")
    parser.add_argument("--quick", action="store_true", help="small sizes: to see that all works")
    parser.add_argument("--no-page", action="store_true", help="leave docs/benchmarks.md alone")
    asked = parser.parse_args()
    failed = False
    for name in BENCHMARKS if "all" in asked.names else asked.names:
        before, start = machine(), time.monotonic()
        emit(name, "machine", **before)
        lines = measured(name, asked.quick)
        failed = failed or lines is None
        if lines is None or asked.quick or asked.no_page:
            continue
        said = (
            f"{date.today().isoformat()}, {before['cores']} cores ({before['processor']}), Python {before['python']}, "
            f"load {before['load']} before and {machine()['load']} after, {time.monotonic() - start:.0f} s in all."
        )
        update(name, lines, said)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
