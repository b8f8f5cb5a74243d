"""Settings of the circuit breaker (`serve.breaker`). Knows no model."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class BreakerConfig(Config):
    """What happens when a model fails: it raises, does not end, or gives no numbers."""

    failures: int = Field(5, ge=1)
    """Failures in a row, of one version, after which it is not asked for a while: clients get 503 at once."""
    open_s: float = Field(5.0, gt=0, le=3600)
    """How long it is not asked. Then one question is tried; if that fails, as long again."""
    call_limit_s: float = Field(30.0, gt=0, le=3600)
    """Longest time of one call of a model. Whoever waits longer gets 504; the thread that hangs is given up."""
    max_hung: int = Field(4, ge=1, le=1000)
    """Threads that may be given up; then `/ready` says 503, and that version is not asked until one comes back."""
