"""Shedding: how many are let in, and that those who are, are answered in time."""

from __future__ import annotations

import heapq
import random
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


class Core:
    """A simulated core: reads what has come, sends away or lets in, then answers what was let in, in batches."""

    def __init__(self, patch: pytest.MonkeyPatch, config: LimitsConfig, seed: int = 0) -> None:
        self.now = 1000.0
        patch.setattr(time, "monotonic", lambda: self.now)
        self.shedding = Shedding(config)
        self.chance = random.Random(seed)
        self.slower = 1.0
        self.bounds: list[int] = []
        self._due: list[tuple[float, int, bool]] = []
        self._inside: list[tuple[float, float, Any, bool]] = []

    def cost_s(self, rows: int) -> float:
        """Of a batch: a call, and texts of very different lengths."""
        each = (min(self.chance.lognormvariate(-7.4, 0.9), 0.01) for _ in range(rows))
        return self.slower * (0.0003 + sum(each))

    def run(self, seconds: float, per_s: float = 0.0, clients: int = 0) -> tuple[list[float], int]:
        """Requests at a rate, or of clients who ask again at once: what answers took, how many were sent away."""
        end, took, before = self.now + seconds, [], self.shedding.num_shed
        self._inside = [(due, since, leave, False) for due, since, leave, _ in self._inside]
        self._due, at = [], self.now
        while per_s and (at := at + self.chance.expovariate(per_s)) < end:
            self._come(at, False)
        for number in range(clients):
            self._come(self.now + number * 1e-5, True)
        while self.now < end and (self._due or self._inside):
            if not self._inside:
                self.now = max(self.now, self._due[0][0])
            self._read(connections=clients or 256)
            took += self._answer()
            self.bounds.append(self.shedding.limit)
        return took, self.shedding.num_shed - before

    def _come(self, at: float, again: bool) -> None:
        heapq.heappush(self._due, (at, len(self._due), again))

    def _read(self, connections: int) -> None:
        upto = self.now
        while self._due and self._due[0][0] <= upto and len(self._inside) < connections:
            due, _, again = heapq.heappop(self._due)
            try:
                self._inside.append((due, self.now, self.shedding.enter(ENTRY), again))
            except Problem:
                self.now += 25e-6
                if again:
                    self._come(self.now + 50e-6, True)

    def _answer(self) -> list[float]:
        batch, self._inside = self._inside[:32], self._inside[32:]
        if batch:
            self.now += self.cost_s(len(batch))
        for _, since, leave, again in batch:
            self.shedding.answered(None, SimpleNamespace(seconds=self.now - since))  # type: ignore[arg-type]
            leave()
            if again:
                self._come(self.now + self.chance.random() * 1e-4, True)
        return [self.now - due for due, _, _, _ in batch]


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


def capacity(core: Core) -> float:
    """Answers a second that eight clients get, and so a calm day for the core to learn from."""
    took, _ = core.run(5, clients=8)
    core.run(5, per_s=len(took) / 10)
    return len(took) / 5


class TestAuto:
    @pytest.fixture
    def core(self, monkeypatch: pytest.MonkeyPatch) -> Core:
        return Core(monkeypatch, LimitsConfig(target_ms="auto"))

    def test_twice_the_capacity(self, core: Core) -> None:
        """Who is let in is answered in about twice the time of a calm day, and as many are as before."""
        most = capacity(core)
        calm, shed = core.run(20, per_s=most / 2)
        assert shed == 0
        heavy, shed = core.run(60, per_s=2 * most)
        assert shed > 0
        assert p99(heavy) < 2.2 * p99(calm)
        assert len(heavy) / 60 > 0.9 * most
        _, shed = core.run(5, per_s=most / 2)
        _, shed = core.run(5, per_s=most / 2)
        assert shed == 0, "it opens again by itself"

    @pytest.mark.parametrize("clients", [32, 128])
    def test_clients_who_wait_for_their_answers_are_not_sent_away(self, core: Core, clients: int) -> None:
        most = capacity(core)
        for _ in range(3):  # Those of the last run are still inside when others come.
            took, shed = core.run(5, clients=clients)
            assert shed == 0
            assert len(took) / 5 > most

    def test_more_than_those_are(self, core: Core) -> None:
        capacity(core)
        assert core.run(5, clients=250)[1] > 0

    def test_one_long_pause_of_the_machine_sends_nobody_away(self, core: Core) -> None:
        capacity(core)
        core.run(2, clients=32)
        core.slower = 200.0
        core.run(0.01, clients=32)
        core.slower = 1.0
        assert core.run(5, clients=32)[1] == 0

    def test_few_who_wait_for_very_long_are_too(self, core: Core) -> None:
        capacity(core)
        core.slower = 50.0
        assert core.run(60, clients=60)[1] > 0

    @pytest.mark.parametrize("times", [1.1, 2, 4])
    def test_the_bound_does_not_swing(self, core: Core, times: float) -> None:
        most = capacity(core)
        core.run(5, per_s=times * most)
        core.bounds.clear()
        took, shed = core.run(40, per_s=times * most)
        assert shed > 0
        assert max(core.bounds) < 64
        assert len(took) / 40 > 0.85 * most

    def test_a_slower_version_is_learnt_on_a_calm_day(self, core: Core) -> None:
        most = capacity(core)
        before = core.shedding.target_s()
        core.slower = 3.0
        core.run(10, per_s=most / 6)
        assert core.run(10, per_s=most / 6)[1] == 0
        assert core.shedding.target_s() > 2 * before

    def test_and_under_overload(self, core: Core) -> None:
        """With the fewest let in, what answers take is the new calm: the bound does not stay at the least for good."""
        most = capacity(core)
        core.run(10, per_s=2 * most)
        before = core.shedding.target_s()
        core.slower = 3.0
        core.run(20, per_s=2 * most)
        assert core.shedding.target_s() > 1.5 * before
        took, _ = core.run(20, per_s=2 * most)
        assert len(took) / 20 > 0.85 * most / 3

    def test_overloaded_from_the_start_it_learns_with_few(self, core: Core) -> None:
        assert core.shedding.target_s() == 0
        core.run(5, per_s=3000)
        assert core.shedding.target_s() > 0
        took, shed = core.run(20, per_s=3000)
        assert shed > 0
        assert p99(took) < 0.05

    def test_who_asks_again_at_once_is_let_in_after_an_overload(self, core: Core) -> None:
        """Sent away, such callers come in such numbers that the load seems never to end."""
        most = capacity(core)
        core.run(10, per_s=2 * most)
        core.run(20, clients=100)
        took, shed = core.run(5, clients=100)
        assert shed == 0
        assert len(took) / 5 > most

    def test_after_a_pause_it_is_open(self, core: Core) -> None:
        most = capacity(core)
        core.run(10, per_s=2 * most)
        assert core.shedding.limit < 64
        core.run(2, per_s=most / 20)
        core.now += 10
        core.run(0.1, per_s=most / 2)
        assert core.shedding.limit == LimitsConfig().max_concurrent


@pytest.mark.parametrize("target", ["auto", 10.0, None])
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
