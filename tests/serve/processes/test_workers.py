"""Several workers on one socket: real processes, one of them killed under load."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from luban.engine import cores
from luban.errors import ServeError
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import FolderOrigin
from luban.serve.processes.supervisor import Supervisor
from luban.serve.processes.worker import VARIABLE, Worker
from luban.serve.server import model_threads, serve
from waiting import until

from ..command import children, served
from ..tiny import write_tiny

ROWS = [{"text": "很好", "stars": 5}]
QUIET = {"LUBAN__SERVE__LOG__ACCESS": "none"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
class TestWorkers:
    def test_one_is_killed_under_load(self, folder: Path) -> None:
        with served("--bundle", folder, "--workers", "2", **QUIET) as (process, address):
            first = children(process.pid)
            assert len(first) == 2
            stop, answered = threading.Event(), []
            with ThreadPoolExecutor(4) as pool:
                asking = [pool.submit(ask_until, address, stop, answered) for _ in range(4)]
                try:
                    until(lambda: len(answered) > 30)
                    os.kill(first[0], signal.SIGKILL)
                    # The port was open all the time, and another worker took the place of the dead one.
                    until(lambda: len(new := children(process.pid)) == 2 and first[0] not in new)
                    before = len(answered)
                    until(lambda: len(answered) > before + 30)
                finally:
                    stop.set()
                broken = sum(future.result() for future in asking)
            assert process.poll() is None
            assert httpx.get(f"{address}/ready").status_code == 200
        # Each of the four clients had one connection, and so one request that may have been lost.
        assert broken <= 4

    def test_sigterm_finishes_what_runs_and_closes_the_port(self, folder: Path) -> None:
        with served("--bundle", folder, "--workers", "2", **QUIET) as (process, address):
            workers = children(process.pid)
            with httpx.Client(base_url=address) as client:
                assert client.post("/v1/predict", json={"rows": ROWS}).status_code == 200
                assert "luban_workers 2.0" in client.get("/metrics").text
                process.send_signal(signal.SIGTERM)
                _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/ready")
        assert err.count('"message":"stopped"') == 3

    def test_workers_end_when_their_supervisor_is_killed(self, folder: Path) -> None:
        with served("--bundle", folder, "--workers", "2", **QUIET) as (process, address):
            workers = children(process.pid)
            process.kill()
            process.wait()
            until(lambda: not any(is_running(pid) for pid in workers))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/ready")

    def test_a_worker_that_cannot_start_ends_the_server(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "luban", "serve", "--bundle", str(tmp_path), "--port", "0", "--workers", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "manifest.json" in done.stderr
        assert done.stdout == ""


def ask_until(address: str, stop: threading.Event, answered: list[str]) -> int:
    """Note each answer; how many requests were cut off."""
    broken = 0
    client = httpx.Client(base_url=address, timeout=60)
    while not stop.is_set():
        try:
            answer = client.post("/v1/predict", json={"rows": ROWS})
            assert answer.status_code == 200, answer.text
            answered.append(answer.text)
        except httpx.TransportError:
            broken += 1
            client.close()
            client = httpx.Client(base_url=address, timeout=60)
    client.close()
    return broken


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


DIES = """
import os, sys, json, pathlib, time
worker = json.loads(os.environ["LUBAN_WORKER"])
count = pathlib.Path(sys.argv[1]) / str(worker["index"])
count.write_text(str(int(count.read_text()) + 1 if count.exists() else 1))
while sys.argv[2] and worker["index"] == 1 and (count.parent / "0").read_text() != "3":
    time.sleep(0.01)
os.write(worker["ready_fd"], b"ready\\n")
if worker["index"] == 0 and int(count.read_text()) < 3:
    sys.exit(7)
os.read(worker["alive_fd"], 1)
"""


@pytest.mark.parametrize("late", ["", "late"], ids=["all are ready", "one still starts"])
def test_one_that_dies_is_started_again_and_the_others_are_left_alone(tmp_path: Path, late: str) -> None:
    (tmp_path / "0").write_text("0")
    listening = socket.create_server(("127.0.0.1", 0))
    supervisor = Supervisor([sys.executable, "-c", DIES, str(tmp_path), late], 2, listening, os.environ, 1)

    def stop() -> None:
        until(lambda: (tmp_path / "0").exists() and (tmp_path / "0").read_text() == "3")
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=stop)
    supervisor.run(thread.start)
    thread.join()
    assert ((tmp_path / "0").read_text(), (tmp_path / "1").read_text()) == ("3", "1")
    assert listening.fileno() == -1
    assert signal.getsignal(signal.SIGTERM) is before


def test_one_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luban.serve.processes.supervisor.GRACE_S", 0.1)
    deaf = "import signal, time, os, json; signal.signal(15, signal.SIG_IGN);"
    deaf += "os.write(json.loads(os.environ['LUBAN_WORKER'])['ready_fd'], b'ready'); time.sleep(60)"
    listening = socket.create_server(("127.0.0.1", 0))
    started = time.monotonic()
    Supervisor([sys.executable, "-c", deaf], 1, listening, os.environ, 0.1).run(
        lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert time.monotonic() - started < 30


def test_a_worker_knows_itself_from_its_environment() -> None:
    worker = Worker(1, 3, 5, 6, 7, "/nowhere")
    assert Worker.of({VARIABLE: worker.variable()}) == worker
    assert Worker.of({}) is None


def test_several_workers_need_a_supervisor(folder: Path) -> None:
    with pytest.raises(ServeError, match="--workers"):
        serve(FolderOrigin(folder), ServeConfig(port=0, workers=2), lambda address: None, {})


@pytest.mark.parametrize(
    ("limit", "workers", "setting", "expected"),
    [
        ("max 100000", 1, "auto", 8),
        ("200000 100000", 1, "auto", 2),
        ("50000 100000", 1, "auto", 1),
        ("max 100000", 3, "auto", 2),
        ("max 100000", 16, "auto", 1),
        ("max 100000", 1, 5, 5),
        ("what", 1, "auto", 8),
    ],
)
def test_threads_of_a_model(
    limit: str, workers: int, setting: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(cores, "num_cores", lambda: 8)
    monkeypatch.setattr("luban.serve.server.usable_cores", lambda: cores.usable_cores(tmp_path))
    config = ServeConfig.model_validate({"workers": workers, "model_threads": setting})
    assert model_threads(config) == expected
