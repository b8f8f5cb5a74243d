"""Limits of several servers in a real Redis, which goes and comes back."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.guards.auth import AuthConfig
from luban.serve.guards.limits_config import LimitConfig, LimitsConfig, RedisConfig
from luban.serve.guards.once import InRedis
from luban.serve.guards.redis_counts import RedisCounts
from luban.serve.http.problems import NotYet, Problem
from luban.serve.server import serving
from ports import free_port
from waiting import until

from ..conftest import FakeBundle, HandOrigin
from .test_oidc import Provider
from .test_oidc import config_of as provided

PROGRAM = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="redis-server is not installed")


class Redis:
    """A Redis on a free loopback port, which can be stopped, frozen and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self.process = subprocess.Popen([str(PROGRAM), *words], stdout=subprocess.DEVNULL)
        until(self._answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    yield redis
    redis.stop()


def config_of(redis: Redis, **settings: Any) -> RedisConfig:
    return RedisConfig.model_validate({"url": redis.url, "timeout_s": 5, **settings})


async def take(counts: RedisCounts, limit: LimitConfig, cost: float = 1.0, name: str = "a") -> float | None:
    """As the server does: wait where something must be fetched; None where it would send the client away."""
    for _ in range(3):
        try:
            return counts.take(name, limit, cost)
        except NotYet as later:
            await later.ready()
        except Problem:
            return None
    return None


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(work())


def test_one_server_lets_through_what_the_limit_says(redis: Redis) -> None:
    async def work() -> None:
        counts, limit = RedisCounts(config_of(redis)), LimitConfig(rate_per_s=0.01, burst=20)
        found = [await take(counts, limit) for _ in range(25)]
        assert found[:20] == [0] * 20
        assert all(wait is not None and 50 < wait <= 100 for wait in found[20:]), found
        await counts.close()

    run(work)


def test_servers_share_one_bucket(redis: Redis) -> None:
    """Four servers, each with many requests at once: together never more than capacity and rate × time."""

    async def work() -> None:
        servers = [RedisCounts(config_of(redis)) for _ in range(4)]
        limit = LimitConfig(rate_per_s=200, burst=100)
        began, through = time.monotonic(), 0

        async def ask(counts: RedisCounts) -> None:
            nonlocal through
            for _ in range(30):
                wait = await take(counts, limit)
                through += wait == 0
                await asyncio.sleep(0.01)

        await asyncio.gather(*(ask(servers[number % 4]) for number in range(40)))
        seconds = time.monotonic() - began
        assert through <= 100 + 200 * (seconds + 1.0)
        assert through >= 100
        for counts in servers:
            await counts.close()

    run(work)


def test_leaky_requests_are_spaced_over_servers(redis: Redis) -> None:
    async def work() -> None:
        servers = [RedisCounts(config_of(redis)) for _ in range(2)]
        limit = LimitConfig(rate_per_s=20, kind="leaky")
        began, times = time.monotonic(), []
        for number in range(60):
            if await take(servers[number % 2], limit) == 0:
                times.append(time.monotonic())
            await asyncio.sleep(0.005)
        assert len(times) >= 3
        assert times[-1] - began >= (len(times) - 1) / 20
        for counts in servers:
            await counts.close()

    run(work)


def test_rows_are_taken_whole(redis: Redis) -> None:
    async def work() -> None:
        counts, limit = RedisCounts(config_of(redis)), LimitConfig(rate_per_s=1, burst=100)
        assert await take(counts, limit, 60) == 0
        wait = await take(counts, limit, 60)
        assert wait is not None
        assert 5 < wait <= 20
        assert await take(counts, limit, 100, "b") == 0
        await counts.close()

    run(work)


def test_who_waits_waits_for_one_call(redis: Redis) -> None:
    async def work() -> None:
        counts, limit = RedisCounts(config_of(redis)), LimitConfig(rate_per_s=10_000, burst=1000)
        calls = 0
        ask = counts._ask

        async def counted(*words: Any) -> tuple[float, float]:
            nonlocal calls
            calls += 1
            return await ask(*words)

        counts._ask = counted  # type: ignore[method-assign]
        assert set(await asyncio.gather(*(take(counts, limit) for _ in range(500)))) == {0}
        assert calls <= 20
        await counts.close()

    run(work)


@pytest.mark.parametrize("on_loss", ["local", "refuse"])
def test_gone_and_back(redis: Redis, on_loss: str) -> None:
    async def work() -> None:
        counts = RedisCounts(config_of(redis, on_loss=on_loss, lease_s=0.05))
        limit = LimitConfig(rate_per_s=0.01, burst=10)
        assert await take(counts, limit) == 0
        redis.stop()
        await asyncio.sleep(0.06)
        found = [await take(counts, limit) for _ in range(15)]
        assert counts.lost
        if on_loss == "local":
            assert found[:10] == [0] * 10
            assert all(wait for wait in found[10:])
        else:
            assert found == [None] * 15
        redis.start()
        for _ in range(200):
            if await take(counts, limit) is not None and not counts.lost:
                break
            await asyncio.sleep(0.02)
        assert not counts.lost
        assert await take(counts, limit, name="b") == 0
        await counts.close()

    run(work)


def test_frozen_costs_no_request_more_than_the_timeout(redis: Redis) -> None:
    """Redis is there and does not answer: the first waits a moment, the others not at all."""
    import signal

    async def work() -> None:
        counts, limit = RedisCounts(config_of(redis, timeout_s=0.1)), LimitConfig(rate_per_s=0.01, burst=10)
        assert redis.process is not None
        redis.process.send_signal(signal.SIGSTOP)
        try:
            assert await take(counts, limit) == 0
            assert counts.lost
            counts.take("a", limit)
        finally:
            redis.process.send_signal(signal.SIGCONT)
        await counts.close()

    run(work)


def test_a_time_that_no_use_can_have_led_to_is_none(redis: Redis) -> None:
    """The clock of Redis was set back: a bucket counts as empty, not as closed for hours."""

    async def work() -> None:
        counts, limit = RedisCounts(config_of(redis)), LimitConfig(rate_per_s=1, burst=10)
        await counts._connected().set(counts._key("a"), "9999999999999999")
        wait = await take(counts, limit)
        assert wait is not None
        assert 0 < wait <= 1
        await asyncio.sleep(wait)
        assert await take(counts, limit) == 0
        await counts.close()

    run(work)


def test_once_among_all_servers(redis: Redis) -> None:
    async def work() -> None:
        servers = [InRedis(RedisCounts(config_of(redis))) for _ in range(2)]

        async def first(memory: InRedis, name: str) -> bool | None:
            for _ in range(2):
                try:
                    return memory.take(name, time.time() + 60)
                except NotYet as later:
                    try:
                        await later.ready()
                    except Problem:
                        return None
            return None

        assert await first(servers[0], "a") is True
        assert [await first(one, "a") for one in servers] == [False, False]
        assert sorted(await asyncio.gather(*(first(one, "b") for one in servers * 5))) == [False] * 9 + [True]
        redis.stop()
        assert await first(servers[0], "c") is None
        for one in servers:
            await one._redis.close()

    run(work)


def test_over_http(redis: Redis, origin: HandOrigin, bundle: FakeBundle) -> None:
    """Two servers, both ways through each, one limit; with Redis gone they refuse as they were told."""
    limits = {
        "requests": {"rate_per_s": 0.01, "burst": 6},
        "redis": {"url": redis.url, "on_loss": "refuse", "timeout_s": 5},
    }
    config = ServeConfig(port=0, limits=LimitsConfig.model_validate(limits))
    with serving(origin, config, {}) as one, serving(origin, config, {}) as two:

        def ask(address: str, pieces: bool = False) -> httpx.Response:
            body: Any = iter([b'{"rows": ', b"[]}"]) if pieces else b'{"rows": []}'
            return httpx.post(f"{address}/v1/predict", content=body, headers={"content-type": "application/json"})

        found = [ask((one, two)[number % 2], number > 3).status_code for number in range(8)]
        assert found == [200] * 6 + [429] * 2
        assert int(ask(one).headers["retry-after"]) > 60
        redis.stop()
        time.sleep(0.01)
        gone = httpx.post(f"{one}/v1/models/reviews/predict", json={"rows": []})
        assert gone.status_code in (429, 503)
        assert httpx.get(f"{one}/health").status_code == 200


def test_a_token_for_one_use_is_asked_for_once_whatever_else_must_be_fetched(
    redis: Redis, origin: HandOrigin, bundle: FakeBundle
) -> None:
    """Its use, then the caller's limit are looked up in Redis: the request is begun anew, and its token is not."""
    shared = {"requests": {"rate_per_s": 0.01, "burst": 6}, "rows": {"rate_per_s": 0.01, "burst": 6}}
    limits = LimitsConfig.model_validate({**shared, "redis": {"url": redis.url, "timeout_s": 5}})
    provider = Provider()
    try:
        config = ServeConfig(port=0, limits=limits, auth=AuthConfig(oidc=provided(provider, one_time=True)))
        with serving(origin, config, {}) as address:

            def ask(token: str, pieces: bool = False) -> int:
                body = b'{"rows": [{"text": "short"}]}'
                headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
                content: Any = iter([body[:9], body[9:]]) if pieces else body
                return httpx.post(f"{address}/v1/predict", content=content, headers=headers).status_code

            for number, pieces in enumerate((False, True)):
                token = provider.token(sub=f"app-{number}", jti=str(number))
                assert [ask(token, pieces), ask(token, pieces)] == [200, 401]
    finally:
        provider.close()
