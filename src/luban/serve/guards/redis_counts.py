"""Buckets that several servers share, in Redis.

A script takes from a bucket in one step, by the time of Redis itself, so servers' clocks do not matter. No request
waits for Redis that need not: what is fetched is a small stock of tokens (a twentieth of a second's worth, never
more than a tenth of the capacity), from which requests are served; the next is fetched before it is used up, all
who wait for one bucket wait for one call. A bucket that Redis said is empty is not asked for again before it can
have a token.

What is promised: in any window of t seconds no more than capacity + rate × (t + lease_s) come through all servers
together. While Redis cannot be reached, `local` lets each server count for itself, so that n servers let
through up to n times as much; `refuse` answers 503. It is tried again every RETRY_S seconds.

Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from luban.catalog import need
from luban.policy.masking import mask
from luban.serve.guards.counts import MAX_BUCKETS, LocalCounts
from luban.serve.guards.limits_config import LimitConfig, RedisConfig
from luban.serve.http.problems import NotYet, Problem

LOG = logging.getLogger("luban.serve")
RETRY_S = 0.5
_AHEAD_S = 0.05
_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local needed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
if full > now + whole + 1000000 then
  -- No use can have led to this: the clock was set back. The bucket counts as empty from now on.
  full = now + whole
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil(whole / 1000) + 1000)
end
local room = math.max(0, now + whole - full) / step
if room + 0.000001 < needed then return {'0', tostring((needed - room) * step)} end
local count = math.max(needed, math.min(wanted, math.floor(room)))
local after = full + count * step
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
return {tostring(count), '0'}
"""


@dataclass(slots=True)
class _Stock:
    """What is known of one bucket. Times are those of `time.monotonic`."""

    tokens: float = 0.0
    until: float = 0.0
    empty_until: float = 0.0
    demand: float = 0.0
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)


class RedisCounts:
    """Buckets in Redis, with what to do while it is gone."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        self._library = need("redis.asyncio", "redis")
        self._client: Any = None
        self._take_some: Any = None
        self._stocks: dict[str, _Stock] = {}
        self._local = LocalCounts()
        self._lost_at: float | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def lost(self) -> bool:
        """Whether Redis could not be reached when it was last asked."""
        return self._lost_at is not None

    def take(self, name: str, limit: LimitConfig, cost: float = 1.0) -> float:
        """See Counts."""
        now = time.monotonic()
        if self._lost_at is not None:
            if now - self._lost_at >= RETRY_S:
                self._lost_at = now
                self._in_background(self._look())
            return self._without(name, limit, cost)
        stock = self._stocks.get(name)
        if stock is None:
            stock = self._new(name, now)
        if stock.until > now and stock.tokens >= cost:
            stock.tokens -= cost
            ahead = _ahead(limit)
            if ahead > 1 and stock.tokens < ahead / 2 and not stock.fetching.locked() and now >= stock.empty_until:
                self._in_background(self._fetch(name, limit, stock, 1, ahead=True))
            return 0.0
        if now < stock.empty_until:
            return stock.empty_until - now
        stock.demand += cost
        gone = Problem(
            "busy", "The limits of this caller are being looked up.", "Ask again.", None, {"retry-after": "1"}
        )
        raise NotYet(gone, partial(self._fetch, name, limit, stock, cost))

    async def once(self, name: str, until_s: float) -> bool:
        """Whether a name comes for the first time among all servers; kept for `until_s`. Raises Problem."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                key = self._key(f"once\0{name}")
                return bool(await self._connected().set(key, "1", nx=True, px=max(1, int(until_s * 1000))))
        except (self._library.RedisError, OSError, TimeoutError) as error:
            self._lose(error)
            raise _gone() from None

    async def close(self) -> None:
        """Give the connections back."""
        if self._client is not None:
            await self._client.aclose()

    def _without(self, name: str, limit: LimitConfig, cost: float) -> float:
        if self._config.on_loss == "local":
            return self._local.take(name, limit, cost)
        raise _gone()

    def _new(self, name: str, now: float) -> _Stock:
        if len(self._stocks) >= MAX_BUCKETS:
            self._stocks = {
                name: one for name, one in self._stocks.items() if max(one.until, one.empty_until) > now or one.demand
            }
        return self._stocks.setdefault(name, _Stock())

    async def _fetch(self, name: str, limit: LimitConfig, stock: _Stock, cost: float, ahead: bool = False) -> None:
        """Fill the stock, `ahead` of need or for one who waits; whoever comes meanwhile waits for that first."""
        async with stock.fetching:
            now = time.monotonic()
            filled = stock.until > now and stock.tokens >= cost and not ahead
            if filled or self.lost or now < stock.empty_until:
                return
            needed, wanted = cost, max(cost, stock.demand) + _ahead(limit)
            stock.demand = 0.0
            try:
                async with asyncio.timeout(self._config.timeout_s):
                    given, wait_us = await self._ask(name, limit, needed, min(wanted, limit.capacity))
            except (self._library.RedisError, OSError, TimeoutError) as error:
                self._lose(error)
                return
            now = time.monotonic()
            if given:
                stock.tokens = given + (stock.tokens if stock.until > now else 0.0)
                stock.until = now + self._config.lease_s
            else:
                stock.empty_until = now + wait_us / 1e6

    async def _ask(self, name: str, limit: LimitConfig, needed: float, wanted: float) -> tuple[float, float]:
        client = self._connected()
        if self._take_some is None:
            self._take_some = client.register_script(_SCRIPT)
        step = 1e6 / limit.rate_per_s
        given, wait = await self._take_some(keys=[self._key(name)], args=[step, step * limit.capacity, needed, wanted])
        return float(given), float(wait)

    def _connected(self) -> Any:
        if self._client is None:
            seconds = self._config.timeout_s
            self._client = self._library.Redis.from_url(
                self._config.url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=None
            )
        return self._client

    def _key(self, name: str) -> str:
        return f"{self._config.prefix}:{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"

    def _lose(self, error: Exception) -> None:
        if self._lost_at is None:
            fields = {"reason": mask(f"{type(error).__name__}: {error}"), "until_then": self._config.on_loss}
            LOG.warning("redis is gone", extra={"fields": fields})
        self._lost_at = time.monotonic()

    async def _look(self) -> None:
        """Ask whether Redis is back."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                await self._connected().ping()
        except (self._library.RedisError, OSError, TimeoutError):
            return
        self._lost_at = None
        LOG.info("redis is back")

    def _in_background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _ahead(limit: LimitConfig) -> float:
    """Tokens that are fetched beside those that are needed."""
    return float(int(min(limit.rate_per_s * _AHEAD_S, limit.capacity / 10)))


def _gone() -> Problem:
    return Problem(
        "no-limits", "The limits of callers cannot be looked up now.", "Ask again later.", None, {"retry-after": "1"}
    )
