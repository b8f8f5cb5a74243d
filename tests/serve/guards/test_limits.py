"""Limits: what comes through in any window, whatever arrives; what the refused are told."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.policy.rules import Actor
from luban.serve.config import ServeConfig
from luban.serve.guards.counts import Counts, LocalCounts, SharedCounts
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.guards.limits import Limits
from luban.serve.guards.limits_config import LimitConfig, LimitsConfig
from luban.serve.http.problems import Problem
from luban.serve.question import Caller, Entry, Question
from luban.serve.server import serving
from luban.store.home import Home

from ..conftest import FakeBundle, HandOrigin

LIMITS = st.builds(LimitConfig, rate_per_s=st.floats(0.01, 1000), burst=st.integers(0, 50))
ARRIVALS = st.lists(st.tuples(st.floats(0, 2), st.integers(1, 3)), max_size=60)


class Hand:
    """A clock moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def admitted(limit: LimitConfig, arrivals: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Times and costs of what came through."""
    with pytest.MonkeyPatch.context() as patch:
        hand, counts, found = Hand(patch), LocalCounts(), []
        for pause, cost in arrivals:
            hand.now += pause
            wait = counts.take("a", limit, cost)
            if wait == 0:
                found.append((hand.now, cost))
            elif cost <= limit.capacity:
                assert 0 < wait <= limit.capacity / limit.rate_per_s + 1e-6
        return found


@given(limit=LIMITS, arrivals=ARRIVALS)
def test_never_more_than_capacity_and_rate_in_any_window(limit: LimitConfig, arrivals: list[tuple[float, int]]) -> None:
    through = admitted(limit, arrivals)
    for first in range(len(through)):
        total = 0
        for at, cost in through[first:]:
            total += cost
            assert total <= limit.capacity + limit.rate_per_s * (at - through[first][0]) + 1e-6


@given(rate=st.floats(0.1, 1000), pauses=st.lists(st.floats(0, 3), max_size=60))
def test_leaky_requests_are_spaced(rate: float, pauses: list[float]) -> None:
    through = admitted(LimitConfig(rate_per_s=rate, kind="leaky"), [(pause, 1) for pause in pauses])
    assert len(through) == bool(pauses) or len(through) > 0
    for (before, _), (after, _) in itertools.pairwise(through):
        assert after - before >= 1 / rate - 1e-6


@given(limit=LIMITS, pauses=st.lists(st.floats(0, 0.5), min_size=1, max_size=40))
def test_who_waits_as_told_comes_through(limit: LimitConfig, pauses: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand, counts = Hand(patch), LocalCounts()
        for pause in pauses:
            hand.now += pause
            wait = counts.take("a", limit)
            if wait:
                hand.now += wait * (1 + 1e-9)
                assert counts.take("a", limit) == 0


@settings(max_examples=30)
@given(limit=LIMITS, arrivals=ARRIVALS)
def test_shared_counts_are_as_local_ones(
    tmp_path_factory: pytest.TempPathFactory, limit: LimitConfig, arrivals: list[tuple[float, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hand, local = Hand(patch), LocalCounts()
        path = tmp_path_factory.mktemp("counts") / "counts"
        shared = [SharedCounts(path, 64), SharedCounts(path, 64)]
        for number, (pause, cost) in enumerate(arrivals):
            hand.now += pause
            assert shared[number % 2].take("a", limit, cost) == pytest.approx(local.take("a", limit, cost), abs=1e-6)
        for one in shared:
            one.close()


def test_slots_are_used_again_and_never_let_more_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hand, counts, limit = Hand(monkeypatch), SharedCounts(tmp_path / "counts", 40), LimitConfig(rate_per_s=1, burst=1)
    through = sum(counts.take(str(number), limit) == 0 for number in range(200))
    assert through <= 41, "names that find no slot share one"
    assert all(counts.take(str(number), limit) > 0 for number in range(200))
    hand.now += 1.1
    assert counts.take("200", limit) == 0
    counts.close()


def test_the_systems_clock_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, limit = LocalCounts(), LimitConfig(rate_per_s=0.001, burst=2)
    for jump in (0.0, 1e9, -1e9):
        wall = time.time()
        monkeypatch.setattr(time, "time", lambda: wall + jump)  # noqa: B023
        counts.take("a", limit)
    assert counts.take("a", limit) > 500


PROCESS = """
import sys
from pathlib import Path
from luban.serve.guards.counts import SharedCounts
from luban.serve.guards.limits_config import LimitConfig
counts, limit = SharedCounts(Path(sys.argv[1])), LimitConfig(rate_per_s=0.001, burst=1000)
print("go", flush=True)
found = 0
while not counts.take("a", limit):
    found += 1
print(found)
"""


def test_processes_share_one_bucket_and_one_is_killed(tmp_path: Path) -> None:
    """Two race for the tokens; a third died while it held the lock."""
    path = tmp_path / "counts"
    holds = "import fcntl, os, sys, time\nfile = os.open(sys.argv[1], os.O_RDWR)\nfcntl.flock(file, fcntl.LOCK_EX)\n"
    SharedCounts(path).close()
    held = subprocess.Popen(
        [sys.executable, "-c", holds + "print('held', flush=True)\ntime.sleep(60)", str(path)], stdout=subprocess.PIPE
    )
    assert held.stdout is not None
    held.stdout.readline()
    racers = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    os.kill(held.pid, signal.SIGKILL)
    found = [int(one.communicate(timeout=60)[0].split()[-1]) for one in racers]
    held.wait()
    held.stdout.close()
    assert sum(found) == 1000


def entry(name: str = "a", model: str = "m") -> Entry:
    return Entry(Caller(name, id=name), model, "1")


def refused(limits: Limits, of: Entry) -> Problem:
    with pytest.raises(Problem) as caught:
        limits.enter(of)
    return caught.value


def test_each_caller_of_each_model_has_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(monkeypatch)
    own = {"rich": LimitConfig(rate_per_s=100, burst=5)}
    config = LimitsConfig(requests=LimitConfig(rate_per_s=0.5, burst=2))
    limits = Limits(config, LocalCounts(), own.get)
    for of in (entry("a"), entry("b"), entry("a", "other")):
        limits.enter(of)
        limits.enter(of)
        found = refused(limits, of)
    for _ in range(5):
        limits.enter(entry("rich"))
    assert refused(limits, entry("rich")).extra["retry_after_ms"] == 10
    assert (found.status, found.extra) == (429, {"retry_after_ms": 2000})
    assert found.headers == {
        "retry-after": "2",
        "ratelimit-policy": '"requests";q=2;w=4',
        "ratelimit": '"requests";r=0;t=2',
    }
    assert limits.num_refused == 4
    hand.now += 2.0
    limits.enter(entry("a"))
    refused(limits, entry("a"))


def test_rows_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Hand(monkeypatch)
    limits = Limits(LimitsConfig(rows=LimitConfig(rate_per_s=10, burst=100)), LocalCounts())

    def rows(count: int) -> None:
        limits.inspect(Question(entry(), [{}] * count), None, [])  # type: ignore[arg-type]

    rows(60)
    rows(0)
    with pytest.raises(Problem) as caught:
        rows(41)
    assert (caught.value.kind, caught.value.extra["retry_after_ms"]) == ("too-many-requests", 100)
    rows(40)
    with pytest.raises(Problem, match="At most 100 rows") as caught:
        rows(101)
    assert caught.value.kind == "too-many-rows"


@pytest.mark.parametrize(
    "wrong", [{"rate_per_s": 0}, {"rate_per_s": 5, "burst": -1}, {"rate_per_s": 1, "burst": 2, "kind": "leaky"}]
)
def test_limits_that_are_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rate_per_s|burst"):
        LimitConfig.model_validate(wrong)


def test_what_a_second_holds() -> None:
    assert [LimitConfig(rate_per_s=rate).capacity for rate in (0.1, 1, 7.9)] == [1, 1, 7]
    assert LimitConfig(rate_per_s=100, kind="leaky").capacity == 1


class TestOverHttp:
    @pytest.fixture
    def config(self) -> ServeConfig:
        limits = {"requests": {"rate_per_s": 0.01, "burst": 3}, "rows": {"rate_per_s": 0.01, "burst": 10}}
        return ServeConfig(port=0, limits=LimitsConfig.model_validate(limits))

    def test_refused_with_when_to_come_again(self, client: httpx.Client) -> None:
        ask = {"rows": [{"text": "a"}] * 4}
        assert client.post("/v1/predict", json=ask).status_code == 200
        assert client.post("/v1/predict", json=ask).status_code == 200
        rows = client.post("/v1/predict", json=ask)
        assert rows.headers["ratelimit-policy"] == '"rows";q=10;w=1000'
        requests = client.post("/v1/predict", json={"rows": []})
        assert (requests.status_code, requests.json()["type"]) == (429, "urn:luban:problem:too-many-requests")
        assert 90 <= int(requests.headers["retry-after"]) <= 100
        assert requests.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert client.get("/v1/model").status_code == 200

    def test_a_key_has_its_own(
        self, origin: HandOrigin, bundle: FakeBundle, config: ServeConfig, tmp_path: Path
    ) -> None:
        home = Home.open(tmp_path)
        limit = LimitConfig(rate_per_s=0.01, burst=1)
        key, _ = Keyring(home.ledger).create(NewKey("app", limit=limit), Actor("ada"))
        with serving(origin, config, {}, home) as address:
            statuses = [
                httpx.post(f"{address}/v1/predict", json={"rows": []}, headers={"x-api-key": key}).status_code
                for _ in range(2)
            ]
        home.ledger.close()
        assert statuses == [200, 429]


def test_all_counts_are_counts(tmp_path: Path) -> None:
    found: list[Counts] = [LocalCounts(), SharedCounts(tmp_path / "counts")]
    assert all(one.take("a", LimitConfig(rate_per_s=1)) == 0 for one in found)


@pytest.mark.long
def test_workers_share_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ..command import served
    from ..tiny import write_tiny

    write_tiny(tmp_path / "tiny")
    monkeypatch.setenv("LUBAN__SERVE__LIMITS__REQUESTS__RATE_PER_S", "0.001")
    monkeypatch.setenv("LUBAN__SERVE__LIMITS__REQUESTS__BURST", "30")
    each_anew = httpx.Limits(max_keepalive_connections=0)  # so that both workers are asked
    with (
        served("--bundle", tmp_path / "tiny", "--workers", "2") as (_, address),
        httpx.Client(base_url=address, limits=each_anew) as client,
    ):
        statuses = [client.post("/v1/predict", json={"rows": []}).status_code for _ in range(60)]
    assert (statuses.count(200), statuses.count(429)) == (30, 30)
