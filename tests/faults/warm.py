"""Calls of `luban` that begin where its imports end: forked from a process that has done nothing but import.

Most of what a small run takes is imports, and they are the same each time. A forked call is a process as any other: its
own environment, folder, arguments, output and end, and it can be killed. What it shares with the others is the seed of
Python's hashes, so whatever is to be the same across processes is compared with a call that was started from nothing.

As a program (`warm.py DESCRIPTOR`) this is the process that is forked, until the other end of its socket is closed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

FIRST = ("luban.cli.main", "luban.lifecycle", "luban.workshop", "luban.cli.face", "luban.cli.show", "luban.cli.said")
WHOLE = ("prepare", "features", "tasks", "models", "evaluate", "explain", "release", "compress", "bundle")
"""Packages of Luban of which each module is imported."""
LIBRARIES = ("sklearn.linear_model", "sklearn.model_selection", "rensa", "yaml", "pyarrow.parquet", "pyarrow.csv")
HEAVY = ("torch", "transformers", "lightgbm", "onnxruntime")
"""Libraries that few calls want, or whose import starts a thread, which no fork takes along."""
THREADS = {"jemalloc_bg_thd"}
"""Threads that come back by themselves in a forked process."""


class Call:
    """A forked call: what `subprocess.Popen` is to a process that was started, as far as tests use it."""

    def __init__(self, stdout: IO[str], stderr: IO[str], told: IO[str]) -> None:
        self.stdout, self.stderr, self._told = stdout, stderr, told
        first = told.readline()
        assert first, "the process that is forked has ended: it says why on standard error"
        self.pid = int(first)
        self.returncode: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        with self._told:
            self.returncode = int(self._told.readline())
        self._ended.set()

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("luban", timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it says from now on."""
        said = ["", ""]

        def read(number: int, file: IO[str]) -> None:
            with file:
                said[number] = file.read()

        readers = [
            threading.Thread(target=read, args=one, daemon=True) for one in enumerate((self.stdout, self.stderr))
        ]
        for reader in readers:
            reader.start()
        end = None if timeout is None else time.monotonic() + timeout
        self.wait(timeout)
        for reader in readers:
            reader.join(None if end is None else max(0.0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired("luban", timeout or 0)
        return said[0], said[1]

    def send_signal(self, sign: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@cache
def _server() -> tuple[socket.socket, threading.Lock, subprocess.Popen[bytes]]:
    """The other end of the process that is forked, and that process; it ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUBAN_")}
    environment = {**inherited, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
    return ours, threading.Lock(), process


def start(program: Sequence[str], arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Call:
    """A call of a program: `-m MODULE` or the path of a script."""
    server, alone, _ = _server()
    pipes = [os.pipe() for _ in range(3)]
    order = {"program": program, "arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    with alone:
        socket.send_fds(server, [json.dumps(order).encode()], [written for _, written in pipes])
    for _, written in pipes:
        os.close(written)
    out, err, told = (os.fdopen(read, encoding="utf-8") for read, _ in pipes)
    return Call(out, err, told)


def _import_all() -> None:
    for name in (*FIRST, *LIBRARIES):
        importlib.import_module(name)
    for package in WHOLE:
        found = importlib.import_module(f"luban.{package}")
        for module in pkgutil.walk_packages(found.__path__, f"luban.{package}."):
            if "neural" not in module.name:
                importlib.import_module(module.name)
    imported = [name for name in HEAVY if name in sys.modules]
    assert not imported, f"no call should find these imported: {imported}"
    threads = [one.joinpath("comm").read_text().strip() for one in Path("/proc/self/task").iterdir()]
    assert len([one for one in threads if one not in THREADS]) == 1, f"this cannot be forked: {threads}"
    gc.collect()
    gc.freeze()


def _orders(server: socket.socket) -> dict[str, object] | None:
    """In a process that is to do it: what is to be called. In the one that is forked: None, when all is over."""
    while True:
        data, passed, _, _ = socket.recv_fds(server, 1 << 20, 3)
        if not data:
            return None
        if os.fork():
            for one in passed:
                os.close(one)
            continue
        out, err, told = passed
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        server.close()
        child = os.fork()
        if child:
            os.close(out)
            os.close(err)
            os.write(told, f"{child}\n".encode())
            _, status = os.waitpid(child, 0)
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        os.close(told)
        for number, one in ((1, out), (2, err)):
            os.dup2(one, number)
            os.close(one)
        found: dict[str, object] = json.loads(data)
        return found


def main() -> None:
    """Import, then fork for each order; whoever was forked goes on below."""
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a call is waited for by nobody
    order = _orders(socket.socket(fileno=int(sys.argv[1])))
    if order is None:
        return
    program, arguments, folder = order["program"], order["arguments"], order["folder"]
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(folder)  # type: ignore[arg-type]
    sys.path[0] = str(folder)
    if program[0] == "-m":  # type: ignore[index]
        sys.argv[:] = ["", *arguments]  # type: ignore[misc]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)  # type: ignore[index]
    else:
        sys.argv[:] = [program[0], *arguments]  # type: ignore[index, misc]
        runpy.run_path(program[0], run_name="__main__")  # type: ignore[index]


if __name__ == "__main__":
    main()
