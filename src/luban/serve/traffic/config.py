"""Settings of `serve.traffic`: how often counts are written, who leads canaries, what shadows may cost."""

from __future__ import annotations

from pydantic import Field

from luban.catalog import Config


class TrafficConfig(Config):
    """How deployments are counted, led and shadowed."""

    write_s: float = Field(2.0, gt=0, le=60)
    """Seconds between two writes of each version's counts to the ledger, and between two looks at a canary or test."""
    lead: bool = True
    """This server may lead canaries and tests: one of all servers does, another takes over if it dies."""
    shadow_waiting: int = Field(256, ge=1, le=100_000)
    """Replies that may wait until shadows are asked; more are not compared, and counted as dropped."""
