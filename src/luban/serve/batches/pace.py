"""What asking a bundle costs, learnt from the batches that were asked: how long one will take, how large one should be.

Costs are kept by size, in powers of two: seconds a row of batches of 1, of 2 and 3, of 4 to 7, … rows. A row in a
batch of twice the size is mostly cheaper; where it is not (memory that no longer fits), batches stay at the sizes
that are cheapest. Decided here: an estimate is a running mean, because rows differ (a long text costs many short
ones) and a mean is what a batch will cost; one call counts for at most eight times what was expected; a size speaks
against itself only after some calls, and is tried again now and then. Knows no clock and no model.
"""

from __future__ import annotations

WORSE = 1.1
"""A size is too large where a row costs so much more than at the cheapest."""
TRY_AGAIN = 32
"""Batches after which a size that was too large is tried again."""
ENOUGH = 8
"""Calls of a size after which its cost is believed."""
_WEIGHT, _MOST = 0.05, 8.0


class Pace:
    """The running estimate of one bundle. Belongs to one thread.

    >>> pace = Pace()
    >>> pace.seen(1, 0.001); pace.seen(4, 0.002)
    >>> pace.expected(1), pace.expected(8)
    (0.001, 0.004)
    """

    __slots__ = ("_costs", "_counts", "_limited")

    def __init__(self) -> None:
        self._costs: dict[int, float] = {}
        self._counts: dict[int, int] = {}
        self._limited = 0

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return bool(self._costs)

    def seen(self, rows: int, seconds: float) -> None:
        """A batch took so long."""
        size, cost = rows.bit_length(), seconds / rows
        count = self._counts[size] = self._counts.get(size, 0) + 1
        old = self._costs.get(size, cost)
        self._costs[size] = old + max(_WEIGHT, 1 / count) * (min(cost, _MOST * old) - old)

    def expected(self, rows: int) -> float:
        """Seconds that so many rows will take in one batch; 0 where nothing was seen."""
        size = rows.bit_length()
        cost = self._costs.get(size)
        if cost is None:
            if not self._costs:
                return 0.0
            # The nearest size that is known, the smaller of two: it tells too much rather than too little.
            cost = self._costs[min(self._costs, key=lambda known: (abs(known - size), known))]
        return cost * rows

    def largest(self, most: int) -> int:
        """Rows that a batch should have at most, when `most` are there."""
        sizes = [size for size in self._costs if size <= most.bit_length() and self._counts[size] >= ENOUGH]
        if not sizes:
            return most
        limit = WORSE * min(self._costs[size] for size in sizes)
        best, largest = max(size for size in sizes if self._costs[size] <= limit), max(sizes)
        if best == largest:
            return most
        self._limited += 1
        return most if self._limited % TRY_AGAIN == 0 else min(most, (1 << best) - 1)
