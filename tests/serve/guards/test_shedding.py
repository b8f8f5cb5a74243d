"""Shedding: how many are let in, and that those who are, are answered in time."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.serve.config import ServeConfig
from luban.serve.guards.limits_config import LimitsConfig
from luban.serve.guards.shedding import Shedding
from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY, Entry
from waiting import until

from ..conftest import FakeBundle

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
ENTRY = Entry(ANYBODY, "m", "1")


class Server:
    """A simulated server on one core: all that is under way is answered together, in turns of their common cost."""

    def __init__(self, patch: pytest.MonkeyPatch, config: LimitsConfig, cost_s: float) -> None:
        self.now = 1000.0
        patch.setattr(time, "monotonic", lambda: self.now)
        self.shedding = Shedding(config)
        self.cost_s = cost_s
        self.shed = 0
        self.took: list[float] = []

    def run(self, per_s: float, seconds: float) -> None:
        """Requests arrive evenly; one that is shed costs a tenth of one that is answered."""
        end, due, arrivals = self.now + seconds, self.now, 0
        while self.now < end:
            leaves = []
            shed = 0
            while due <= self.now:
                due += 1 / per_s
                arrivals += 1
                try:
                    leaves.append(self.shedding.enter(ENTRY))
                except Problem:
                    shed += 1
            if not leaves:
                self.now = due
                continue
            took = (len(leaves) + shed / 10) * self.cost_s
            self.now += took
            self.shed += shed
            for leave in leaves:
                self.took.append(took)
                self.shedding.answered(None, SimpleNamespace(seconds=took))  # type: ignore[arg-type]
                leave()


@pytest.mark.parametrize("times", [2, 5])
def test_under_overload_those_let_in_are_answered_in_time(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    server = Server(monkeypatch, LimitsConfig(target_ms=20), 0.001)
    server.run(500, 2)
    assert server.shed == 0
    server.run(1000 * times, 5)
    server.took.clear()
    server.run(1000 * times, 5)
    assert max(server.took) < 0.05
    answered = len(server.took) / 5
    assert answered > 500, "shedding must not cost what it saves"
    server.run(500, 5)
    server.shed = 0
    server.run(500, 2)
    assert server.shed == 0, "it opens again by itself"


def test_without_it_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above shows is not so by itself."""
    server = Server(monkeypatch, LimitsConfig(target_ms=None, max_concurrent=1000), 0.001)
    server.run(2000, 10)
    assert max(server.took) > 0.5


def test_a_slow_model_is_no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, LimitsConfig(target_ms=20), 0.3)
    server.run(1, 30)
    assert server.shed == 0
    assert server.shedding.limit == LimitsConfig().max_concurrent


def test_while_small_questions_wait_behind_a_batch_nobody_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer tells of that queue yet."""
    server = Server(monkeypatch, LimitsConfig(target_ms=20, min_concurrent=2), 0.001)
    server.run(100, 5)
    shedding, shed = server.shedding, server.shedding.num_shed
    leaves = [shedding.enter(ENTRY) for _ in range(5)]
    server.now += 10
    leaves.append(shedding.enter(ENTRY))
    assert shedding.num_shed == shed, "slow uploads are no queue"
    for waiting, since_s, lets_in in ((5, 0.01, True), (1, 0.03, True), (5, 0.03, False)):
        shedding.queue = lambda found=(waiting, since_s): found
        if lets_in:
            leaves.append(shedding.enter(ENTRY))
        else:
            with pytest.raises(Problem):
                shedding.enter(ENTRY)
    while len(leaves) > 1:
        leaves.pop()()
    shedding.enter(ENTRY)
    assert shedding.under_way == 2, "the least is let in whatever happens"


def test_a_new_version_that_is_slower_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(monkeypatch, LimitsConfig(target_ms=20, min_concurrent=2), 0.001)
    server.run(100, 5)
    server.cost_s = 0.1
    server.run(5, 60)
    server.shed = 0
    server.run(5, 20)
    assert server.shed == 0


@pytest.mark.parametrize("target", [10.0, None])
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), max_size=200), st.integers(1, 20))
def test_never_more_than_allowed(target: Any, steps: list[tuple[bool, float]], most: int) -> None:
    shedding = Shedding(LimitsConfig(max_concurrent=most, min_concurrent=4, target_ms=target))
    leaves: list[Any] = []
    refused: list[str] = []
    for comes, seconds in steps:
        assert 1 <= shedding.limit <= most
        if comes:
            before = len(leaves)
            try:
                leaves.append(shedding.enter(ENTRY))
            except Problem as problem:
                refused.append(problem.headers["retry-after"])
            assert (len(leaves) > before) == (before < shedding.limit)
        elif leaves:
            shedding.answered(None, SimpleNamespace(seconds=seconds))  # type: ignore[arg-type]
            leaves.pop()()
        assert shedding.under_way == len(leaves)
    assert set(refused) <= {"1"}
    assert len(refused) == shedding.num_shed


class TestOverHttp:
    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig(port=0, limits=LimitsConfig(max_concurrent=1))

    def test_sent_away_before_the_body_is_read(self, client: httpx.Client, bundle: FakeBundle) -> None:
        wait = {"rows": [{"text": "wait"}] * 50}
        url = client.base_url
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, f"{url}/v1/predict", json=wait, timeout=20)
            # Asking until it is refused might itself take the only place.
            until(lambda: "luban_open_requests 1" in client.get("/metrics").text)
            assert client.post("/v1/predict", json={"rows": []}).status_code == 503
            with socket.create_connection((url.host, url.port or 0), timeout=10) as connection:
                connection.sendall(HEAD)
                answer = connection.recv(65_536)
                while b"urn:luban:problem:" not in answer and (more := connection.recv(65_536)):
                    answer += more
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"urn:luban:problem:overloaded" in answer
            assert b"retry-after: 1" in answer
            assert client.get("/health").status_code == 200
            bundle.go_on.set()
            assert asked.result().status_code == 200
        assert client.post("/v1/predict", json={"rows": []}).status_code == 200
        assert "luban_shed_requests_total" in client.get("/metrics").text
