"""Settings of batching (`serve.batching`): how many rows are asked of a model together. Knows no batcher."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class BatchingConfig(Config):
    """How questions share a call of the model."""

    enabled: bool = True
    """Ask together what has arrived. Otherwise each question is asked by itself."""
    max_rows: int = Field(256, ge=1, le=10_000)
    """Most rows of one call. A larger question is asked in pieces, between which others have their turn."""
    inline_ms: float = Field(4.0, ge=0, le=1000)
    """What is expected to take no longer is answered on the event loop, which costs no switch of threads; 0 asks
    always in a thread, for models that may hang."""
