"""What the server promises (`serve.slo`): how many requests are answered, and how fast.

The promise is what alerts and dashboards measure against (`luban deploy monitoring`); to the server itself it is one
bound of its histograms, so that the share of slow requests is exact.
"""

from __future__ import annotations

from luban.catalog import Config, execution


class SloConfig(Config):
    """What the server promises to those who ask; alerts are raised when the promise is being used up."""

    availability: float = execution(0.999, gt=0, lt=1)
    """Share of questions that get an answer, over 30 days: 0.999 leaves 43 minutes."""
    p95_ms: float = execution(100.0, gt=0, le=60_000)
    """Time within which 95 of 100 questions are answered, in milliseconds."""
    wants_truth: bool = execution(True)
    """Raise an alert where a model is asked, but the truth of none of its answers has come for 7 days."""


LATENCY_SHARE = 0.95
"""The share of questions that `p95_ms` is about."""


def needs_bound(slo: SloConfig) -> float:
    """The bound in seconds that histograms of time must have.

    >>> needs_bound(SloConfig(p95_ms=20))
    0.02
    """
    return slo.p95_ms / 1000
