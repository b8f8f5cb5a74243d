"""A histogram for the hot path: counts in buckets, found by bisection.

Observing costs a fraction of a microsecond; nothing is locked, because a tally belongs to one thread (the event
loop), and who reads it from another sees a whole number in every bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Tally:
    """Counts of values up to each of `bounds` (ascending, units as in the figure's name), and their sum.

    >>> tally = Tally((1.0, 2.0))
    >>> for value in (0.5, 2.0, 7.0): tally.observe(value)
    >>> tally.counts, tally.sum, tally.cumulative()
    ([1, 1, 1], 9.5, [1, 2, 3])
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(
        self, bounds: tuple[float, ...] = SECONDS, counts: list[int] | None = None, total: float = 0.0
    ) -> None:
        self.bounds = bounds
        self.counts = counts if counts is not None else [0] * (len(bounds) + 1)
        """Of each bucket by itself; the last holds what is above all bounds."""
        self.sum = total

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[int]:
        """How many values were at most each bound; the last entry is the number of all."""
        return list(accumulate(self.counts))

    def __add__(self, other: Tally) -> Tally:
        """Both together. Raises ValueError where their bounds differ."""
        if self.bounds != other.bounds:
            raise ValueError(f"bounds must be equal, but got {self.bounds} and {other.bounds}")
        return Tally(self.bounds, [a + b for a, b in zip(self.counts, other.counts, strict=True)], self.sum + other.sum)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return (self.bounds, self.counts, self.sum) == (other.bounds, other.counts, other.sum)

    __hash__ = None  # type: ignore[assignment]  # it changes
