"""What asking a bundle costs, learnt from the batches that were asked: how long one will take, and how large one
should be.

Costs are kept by size, in powers of two: seconds a row of batches of 1, of 2 and 3, of 4 to 7, … rows. A row in a
batch of twice the size is mostly cheaper; where it is not (rows of unlike length, memory that no longer fits),
batches stay at the size that was cheapest. Decided here: an estimate follows a cheaper batch quickly and a dearer
one slowly, and none by more than doubling it, because what disturbs a measurement makes it longer; every so often a
larger batch is tried again all the same. Knows no clock and no model."""

from __future__ import annotations

WORSE = 1.1
"""A size is too large where a row costs so much more than in smaller batches."""
TRY_AGAIN = 64
"""Batches after which a size that was too large is tried again."""
_DOWN, _UP = 0.5, 0.1


class Pace:
    """The running estimate of one bundle. Belongs to one thread.

    >>> pace = Pace()
    >>> pace.seen(1, 0.001); pace.seen(4, 0.002)
    >>> pace.expected(1), pace.expected(8)
    (0.001, 0.004)
    """

    __slots__ = ("_costs", "_limited")

    def __init__(self) -> None:
        self._costs: dict[int, float] = {}
        self._limited = 0

    @property
    def known(self) -> bool:
        """Whether anything was seen."""
        return bool(self._costs)

    def seen(self, rows: int, seconds: float) -> None:
        """A batch took so long."""
        size, cost = rows.bit_length(), seconds / rows
        old = self._costs.get(size)
        if old is None:
            self._costs[size] = cost
        elif cost < old:
            self._costs[size] = old + _DOWN * (cost - old)
        else:
            self._costs[size] = old + _UP * (min(cost, 2 * old) - old)

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
        sizes = sorted(size for size in self._costs if size <= most.bit_length())
        best = cheapest = None
        for size in sizes:
            cost = self._costs[size]
            if cheapest is not None and cost > cheapest * WORSE:
                break
            best, cheapest = size, cost if cheapest is None else min(cheapest, cost)
        else:
            return most
        self._limited += 1
        if self._limited % TRY_AGAIN == 0 or best is None:
            return most
        return min(most, (1 << best) - 1)
