"""`luban serve` as people start it: a process of its own on a free port, ended by its own handle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LUBAN = Path(sys.executable).with_name("luban")
ENDS_S = 60.0
MOST_S = 150.0
"""A server that a test has not ended by then is killed, so that a test that waits for it fails."""


@contextmanager
def served(*arguments: str | Path, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address; `settings` are environment variables. Where it does not start: what it said."""
    command = [LUBAN, "serve", "--port", "0", "--json", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **settings}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    timer = threading.Timer(MOST_S, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)["address"]
    finally:
        timer.cancel()
        process.terminate()
        said = ""
        try:
            _, said = process.communicate(timeout=ENDS_S)
        except subprocess.TimeoutExpired:
            process.kill()
            _, said = process.communicate()
        except ValueError:  # the test has read all that it said
            pass
        sys.stderr.write(said or "")  # shown where the test fails


def children(of: int) -> list[int]:
    """Process ids of its workers."""
    return [int(pid) for pid in Path(f"/proc/{of}/task/{of}/children").read_text().split()]
