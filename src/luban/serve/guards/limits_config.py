"""Settings of limits (`serve.limits`): how much a caller may ask, and how much the server takes on.

Decided here: a limit counts requests, and rows if asked; `token` lets bursts through, `leaky` spaces requests
evenly. No limit is set unless it is asked for, apart from concurrency. Knows no bucket and no clock.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from luban.catalog import Config


class LimitConfig(Config):
    """How much may be asked: by one caller of one model."""

    rate_per_s: float = Field(gt=0, le=1e6)
    """Requests (or rows) a second, on average."""
    burst: int = Field(0, ge=0, le=10_000_000)
    """How many may come at once after a pause; 0 takes one second's worth, at least 1."""
    kind: Literal["token", "leaky"] = "token"
    """`token`: a bucket of `burst` tokens, refilled at the rate. `leaky`: no two closer than 1/rate, no bursts."""

    @model_validator(mode="after")
    def _leaky_has_no_burst(self) -> LimitConfig:
        if self.kind == "leaky" and self.burst > 1:
            raise ValueError("`burst` must not be set with kind `leaky`, which lets one through at a time")
        return self

    @cached_property
    def capacity(self) -> int:
        """Most that come through at once."""
        if self.kind == "leaky":
            return 1
        return self.burst or max(1, int(self.rate_per_s))


class RedisConfig(Config):
    """Limits that several servers share, counted in Redis."""

    url: str = Field(min_length=1)
    """Where it is: redis://host:6379/0, rediss:// with TLS. A password belongs in an environment variable."""
    prefix: str = Field("luban", pattern=r"^[A-Za-z0-9:_-]{1,60}$")
    """What keys in Redis begin with."""
    timeout_s: float = Field(0.25, gt=0, le=10)
    """Longest wait for an answer of Redis."""
    lease_s: float = Field(1.0, gt=0, le=60)
    """How long a server may keep tokens that it has fetched ahead; then they are lost."""
    on_loss: Literal["local", "refuse"] = "local"
    """While Redis is gone: `local` lets each server count for itself, by the same limit; `refuse` answers 503."""


class LimitsConfig(Config):
    """How much callers may ask, and how much the server takes on at once."""

    requests: LimitConfig | None = None
    """Requests of one caller to one model; a key's own limit stands in its place."""
    rows: LimitConfig | None = None
    """Rows of one caller to one model."""
    redis: RedisConfig | None = None
    """Count in Redis, for several servers; without it all processes of this server count together."""
    max_concurrent: int = Field(1000, ge=1, le=100_000)
    """Requests to models that may be under way at once, in one process; more are sent away with 503."""
    target_ms: float | None = Field(100.0, gt=0)
    """Sheds load before it queues: where half of the answers take longer than this, fewer requests are let in. A
    quarter of what one answer in a hundred may take is a good choice; null lets all wait."""
    min_concurrent: int = Field(4, ge=1)
    """Requests that are let in at once however slow answers are."""
