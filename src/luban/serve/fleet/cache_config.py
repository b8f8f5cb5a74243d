"""Settings of the response cache (`cache.py`)."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class CacheConfig(Config):
    """Answers that are kept, so that equal rows are not asked again. Each worker process keeps its own."""

    max_mb: float | None = Field(None, gt=0)
    """Most memory that kept answers may take. None: nothing is kept."""
    ttl_s: float = Field(300.0, gt=0)
    """How long an answer may be given again."""
