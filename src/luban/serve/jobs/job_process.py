"""Processes that do jobs, so that long work takes neither the server's loop nor its lock.

    server ── thread: is a job due? ── lease `jobs:<host>:<n>` ──► python -m luban.serve.jobs.job_process

Decided here: a process is started only when there is a job, at low priority (`nice`) and with one thread, and ends
after a while without one; the lease bounds them for the machine, however many servers run on it; they end with the
server that started them, whose jobs are then taken by others. What they count, the server tells at its scrapes. The
thread also forgets old jobs, with their files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from luban.engine.jobs import Job, JobQueue, JobRunner
from luban.errors import LeaseHeld, LubanError
from luban.serve.config import ServeConfig
from luban.serve.guards.breaker import end_process
from luban.serve.jobs.job_figures import AllJobFigures, JobFigures
from luban.serve.jobs.job_files import KIND
from luban.serve.watch import log
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

if TYPE_CHECKING:
    from luban.serve.watch.figures import Sample

LOG = logging.getLogger("luban.jobs")
SWEEP_S = 3600.0
STOP_S = 5.0
"""How long a process has to give its job back."""
JOIN_S = STOP_S + 3.0
"""How long a server that stops waits for its threads; a ledger that is locked may hold them up for longer."""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class JobProcesses:
    """A companion of the server: one thread for each process that may run, which starts and watches it."""

    def __init__(self, home: Home, config: ServeConfig) -> None:
        self._home = home
        self._server_config = config
        self._config = config.jobs
        self._folder: Path | None = None
        """Where processes tell their figures."""
        self._figures: AllJobFigures | None = None
        self._queue = JobQueue(home.ledger)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    async def start(self) -> None:
        """Start the threads."""
        self._folder = Path(tempfile.mkdtemp(prefix="luban-jobs-"))
        self._figures = AllJobFigures(self._folder)
        for slot in range(self._config.workers):
            thread = threading.Thread(target=self._keep, args=(slot,), name=f"luban-jobs-{slot}", daemon=True)
            thread.start()
            self._threads.append(thread)
        sweeper = threading.Thread(target=self._sweep, name="luban-jobs-sweep", daemon=True)
        sweeper.start()
        self._threads.append(sweeper)

    async def stop(self) -> None:
        """End the processes; what they were at waits again."""
        self._stop.set()
        end = time.monotonic() + JOIN_S
        for thread in self._threads:
            await asyncio.to_thread(thread.join, max(0.0, end - time.monotonic()))
        self._figures = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def figures(self) -> Iterable[Sample]:
        """What the rows of jobs add to the server's figures."""
        return () if self._figures is None else self._figures.figures()

    def _keep(self, slot: int) -> None:
        name = f"jobs:{socket.gethostname()}:{slot}"
        while not self._stop.wait(self._config.poll_s):
            try:
                if self._queue.is_due([KIND]):
                    with self._home.ledger.lease(name):
                        self._run()
            except LeaseHeld:
                continue  # another server of this machine has the slot
            except LubanError as error:
                LOG.warning("jobs wait", extra={"fields": {"reason": error.message}})
            except Exception:  # The thread must outlive whatever a database driver raises.
                LOG.exception("jobs wait")

    def _run(self) -> None:
        """One process, until it ends or the server does."""
        assert self._folder is not None, "it was made before the threads"
        with _process(self._home, self._server_config, self._folder) as process:
            while process.poll() is None and not self._stop.wait(0.1):
                pass

    def _sweep(self) -> None:
        due = 0.0
        while not self._stop.wait(min(self._config.poll_s, SWEEP_S)):
            if time.monotonic() < due:
                continue
            due = time.monotonic() + SWEEP_S
            try:
                forget(self._queue, self._home.store, self._config.keep_days)
            except Exception:  # The thread must outlive whatever a store's or database's driver raises.
                LOG.exception("old jobs stay")


def forget(queue: JobQueue, store: Store, keep_days: float) -> int:
    """Forget jobs that ended longer ago, and drop their files; how many there were."""
    old = queue.purge(keep_days)
    for job in old:
        for tree in _trees(job):
            try:
                store.drop(tree)
            except LubanError as error:  # The job is forgotten: one tree that stays must not keep the others.
                LOG.warning("a file of an old job stays", extra={"fields": {"tree": tree, "reason": error.message}})
    return len(old)


def _trees(job: Job) -> list[str]:
    found = (job.request, job.result)
    return [part["tree"] for part in found if isinstance(part, dict) and isinstance(part.get("tree"), str)]


@contextlib.contextmanager
def _process(home: Home, config: ServeConfig, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    where = {
        "store": home.store.url,
        "ledger": home.ledger.url,
        "workspace": home.ledger.workspace,
        "parent": os.getpid(),
        "figures": str(folder),
        "config": config.model_dump(mode="json"),
    }
    command = [sys.executable, "-m", "luban.serve.jobs.job_process"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **_ONE_THREAD})
    try:
        # From here, so that what it imports at its start is not in the way of requests either.
        os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.nice(0) + config.jobs.nice))
        assert process.stdin is not None
        # Through a pipe, not as arguments: the ledger's URL may hold a password, which `ps` would show.
        process.stdin.write(json.dumps(where).encode())
        process.stdin.close()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """The process: jobs until there are none, or until it is told to stop."""
    # Here alone: what reads and writes files takes 9 MB, which the server, that starts this process, need not.
    from luban.serve.jobs.job_work import PredictWork

    where = json.load(sys.stdin)
    _first_to_go()
    log.set_up()
    home = Home(Store(where["store"], where["workspace"]), Ledger(where["ledger"], where["workspace"]))
    config = ServeConfig.model_validate(where["config"])
    work = PredictWork(home, config, JobFigures(Path(where["figures"])))
    runner = JobRunner(JobQueue(home.ledger), {KIND: work})

    def stop(number: int, frame: FrameType | None) -> None:
        runner.stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to take
    threading.Thread(target=_end_with, args=(where["parent"],), daemon=True).start()
    runner.run(config.jobs.poll_s, config.jobs.idle_s, lambda: work.num_hung > 0)
    work.close()
    if work.num_hung:  # The interpreter would wait for a thread that hangs.
        end_process()


def _first_to_go() -> None:
    """Where memory runs out, the system ends this process, and not the server: a file may need more than there is."""
    with contextlib.suppress(OSError):  # There is no such file but on Linux.
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, however it went: its job is then taken by another."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    main()
