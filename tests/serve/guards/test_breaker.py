"""A model that raises, hangs, or gives no numbers."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from luban.bundle.bundle import NO_NUMBER, Bundle
from luban.serve.batches.batching_config import BatchingConfig
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.guards.breaker import HUNG_STATUS, Breaker
from luban.serve.guards.breaker_config import BreakerConfig
from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY, Entry, Question, Reply
from luban.serve.server import serving
from waiting import Clock, until

from ..tiny import write_tiny

GOOD = {"rows": [{"text": "很好", "stars": 5}]}


class Sick(Bundle):
    """A real bundle, loaded from its folder, that is made to fail."""

    how = ""
    let_go = threading.Event()

    def run(self, arrays: Any) -> np.ndarray:
        outputs = super().run(arrays)
        if Sick.how == "raises":
            raise RuntimeError("what a library raises")
        if Sick.how == "hangs":
            Sick.let_go.wait(60)
        if Sick.how == "no numbers":
            outputs[:] = np.nan
        return outputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


OPEN_S = 1000.0


@pytest.fixture
def call_limit_s() -> float:
    return 60.0


@pytest.fixture
def config(call_limit_s: float) -> ServeConfig:
    breaker = BreakerConfig(failures=3, open_s=OPEN_S, call_limit_s=call_limit_s, max_hung=2)
    return ServeConfig(port=0, num_threads=2, breaker=breaker, batching=BatchingConfig(inline_ms=0))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The breaker's."""
    clock = Clock()
    monkeypatch.setattr("luban.serve.guards.breaker.time", clock)
    return clock


@pytest.fixture
def client(folder: Path, config: ServeConfig, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr("luban.serve.fleet.live.load", lambda folder, num_threads=1: Sick.load(folder))
    Sick.how, Sick.let_go = "", threading.Event()
    try:
        with serving(FolderOrigin(folder), config, {}) as address, httpx.Client(base_url=address, timeout=20) as client:
            yield client
    finally:
        Sick.how = ""
        Sick.let_go.set()


def ask(client: httpx.Client, body: Any = GOOD) -> tuple[int, str]:
    response = client.post("/v1/predict", json=body)
    return response.status_code, response.json().get("type", "").rpartition(":")[2]


def figure(client: httpx.Client, name: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1]) if lines else 0.0


class TestOnTheLoop:
    @pytest.fixture
    def config(self, config: ServeConfig) -> ServeConfig:
        return config.model_copy(update={"batching": BatchingConfig(inline_ms=1000)})

    def test_raises(self, client: httpx.Client, clock: Clock) -> None:
        Sick.how = "raises"
        assert [ask(client) for _ in range(4)] == [(500, "internal")] * 3 + [(503, "model-failing")]
        Sick.how = ""
        clock.ahead_s += OPEN_S + 1
        assert ask(client)[0] == 200


def test_raises(client: httpx.Client, clock: Clock) -> None:
    assert ask(client)[0] == 200
    Sick.how = "raises"
    assert [ask(client) for _ in range(3)] == [(500, "internal")] * 3
    refused = client.post("/v1/predict", json=GOOD)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:luban:problem:model-failing")
    assert OPEN_S - 100 < int(refused.headers["retry-after"]) <= OPEN_S
    assert figure(client, "luban_breaker_open") == 1
    clock.ahead_s += OPEN_S + 1
    assert figure(client, "luban_breaker_open") == 0.5
    assert ask(client) == (500, "internal"), "one question is tried"
    assert ask(client) == (503, "model-failing")
    Sick.how = ""
    clock.ahead_s += OPEN_S + 1
    assert [ask(client)[0] for _ in range(3)] == [200] * 3
    assert figure(client, "luban_breaker_open") == 0
    assert client.get("/ready").status_code == 200


def test_gives_no_numbers(client: httpx.Client, clock: Clock) -> None:
    Sick.how = "no numbers"
    for _ in range(3):
        found = client.post("/v1/predict", json=GOOD)
        assert found.json()["answers"] == [{"error": NO_NUMBER}]
    assert ask(client) == (503, "model-failing")
    Sick.how = ""
    clock.ahead_s += OPEN_S + 1
    assert ask(client)[0] == 200


class TestThatHangs:
    @pytest.fixture
    def call_limit_s(self) -> float:
        return 2.0

    def test_in_a_thread(self, client: httpx.Client, clock: Clock) -> None:
        assert ask(client)[0] == 200
        Sick.how = "hangs"
        with ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(httpx.post, f"{client.base_url}/v1/predict", json=GOOD, timeout=20) for _ in range(2)]
            assert client.get("/health").status_code == 200
            assert {one.result().status_code for one in asked} <= {503, 504}
        until(lambda: figure(client, "luban_hung_threads") >= 1)
        assert ask(client) == (503, "model-failing")
        assert client.get("/health").status_code == 200

        def asked_again() -> bool:
            clock.ahead_s += OPEN_S + 1
            return ask(client)[0] in (503, 504) and figure(client, "luban_hung_threads") >= 2

        until(asked_again)
        ready = client.get("/ready")
        assert (ready.status_code, "hang in a model" in ready.json()["detail"]) == (503, True)
        Sick.how = ""
        clock.ahead_s += OPEN_S + 1
        assert ask(client) == (503, "model-failing"), "too many threads are lost to try again"
        Sick.let_go.set()
        until(lambda: figure(client, "luban_hung_threads") == 0)
        until(lambda: ask(client)[0] == 200)
        assert client.get("/ready").status_code == 200


RUN = """
import sys
from pathlib import Path
from luban.bundle.bundle import Bundle
from luban.serve.guards.breaker_config import BreakerConfig
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import FolderOrigin
from luban.serve.server import serve
import time
ran = Bundle.run
def run(self, arrays):
    while Path(sys.argv[2]).exists():
        time.sleep(0.05)
    return ran(self, arrays)
Bundle.run = run
config = ServeConfig(port=0, breaker=BreakerConfig(call_limit_s=2.0), batching={"inline_ms": float(sys.argv[3])})
serve(FolderOrigin(Path(sys.argv[1])), config, lambda address: print(address, flush=True), {})
"""


@pytest.mark.parametrize(("inline_ms", "status"), [("4", HUNG_STATUS), ("0", 0)])
def test_a_process_that_hangs_ends(folder: Path, tmp_path: Path, inline_ms: str, status: int) -> None:
    """On the event loop: by itself. In a thread: it goes on, and ends when it is told to, hung thread or not."""
    hang = tmp_path / "hang"
    words = [sys.executable, "-c", RUN, str(folder), str(hang), inline_ms]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert httpx.post(f"{address}/v1/predict", json=GOOD, timeout=20).status_code == 200
        hang.touch()
        if status:
            with pytest.raises(httpx.HTTPError):
                httpx.post(f"{address}/v1/predict", json=GOOD, timeout=20)
        else:
            assert httpx.post(f"{address}/v1/predict", json=GOOD, timeout=20).status_code == 504
            assert httpx.get(f"{address}/health", timeout=20).status_code == 200
            process.terminate()
        _, errors = process.communicate()
    finally:
        timer.cancel()
        process.kill()
    assert process.returncode == status
    assert ("hangs on the event loop" in errors) == bool(status)


class Answerer:
    """What the breaker sees of a version."""

    def __init__(self) -> None:
        self.bundle = type("Loaded", (), {})()
        self.name, self.version = "m", 1


def test_only_the_models_faults_count() -> None:
    breaker, served, question = Breaker(BreakerConfig(failures=2)), Answerer(), Question(Entry(ANYBODY, "m", "1"), [{}])
    picked: Any = type("Picked", (), {"arm": type("Arm", (), {"served": served})()})()

    def reply(*answers: dict[str, Any]) -> Reply:
        return Reply(picked, list(answers), sum("error" in answer for answer in answers))

    def is_open() -> bool:
        try:
            breaker.inspect(question, served, [])  # type: ignore[arg-type]
        except Problem:
            return True
        return False

    for _ in range(5):
        breaker.failed(question, picked, Problem("too-late", "", ""))
        breaker.answered(question, reply({"error": "nights: is not a number"}))
        breaker.failed(question, picked, RuntimeError())
        breaker.answered(question, reply({"label": "a"}, {"error": NO_NUMBER}))
    assert not is_open()
    breaker.failed(question, picked, RuntimeError())
    assert not is_open()
    breaker.answered(question, reply({"error": NO_NUMBER}, {"error": NO_NUMBER}))
    assert is_open()


def test_rows_without_a_number_spoil_no_other(folder: Path) -> None:
    bundle = Bundle.load(folder)
    rows = [{"text": "很好", "stars": 5}, {"stars": "many"}, {"text": "太差", "stars": 1}]
    expected = bundle.predict(rows).rows()
    ran = bundle.run
    for bad in (np.nan, np.inf):

        def run(arrays: Any, bad: float = bad) -> np.ndarray:
            outputs = ran(arrays)
            outputs[1] = bad
            return outputs

        bundle.run = run  # type: ignore[method-assign]
        assert bundle.predict(rows).rows() == [expected[0], expected[1], {"error": NO_NUMBER}]
