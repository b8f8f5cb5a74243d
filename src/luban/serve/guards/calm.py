"""What answers take on a calm day, learnt from those that were given while few were under way.

How many are under way on average is what all answers took together over the time in which they were given (Little's
law), so no request need be looked at to tell a calm moment from a busy one. Of calm moments' answers, each block
gives a median and a 99th percentile, and what counts is the median over the last blocks: one block in which the
machine did something else is no new calm, and a model that is slower is believed after four of them. A busy moment
teaches nothing, else a server that is slowly filled up would take its queue for its calm (what "Vegas" suffers from,
Brakmo and Peterson, SIGCOMM 1994; Envoy's gradient controller lets few in now and then for the same reason).

Known to be wrong: under overload, with the fewest let in that may be (`shedding.py`), it learns what those wait for a
loop that sends many others away. For cheap models that is far from calm, and what is learnt drifts.

Knows no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

FEW_UNDER_WAY = 8.0
"""Requests under way, on average, up to which a moment is calm."""
BLOCK, BLOCKS = 64, 7


class Calm:
    """The running estimate, in seconds; None until a block is full.

    >>> calm = Calm()
    >>> for _ in range(8):
    ...     calm.learn([0.01] * 8, lasted_s=1.0)
    >>> calm.median_s, calm.p99_s
    (0.01, 0.01)
    """

    def __init__(self) -> None:
        self.median_s: float | None = None
        self.p99_s: float | None = None
        self._block: list[float] = []
        self._medians: deque[float] = deque(maxlen=BLOCKS)
        self._p99s: deque[float] = deque(maxlen=BLOCKS)

    def learn(self, taken: Sequence[float], lasted_s: float) -> None:
        """What the answers of a moment took, and how long the moment was."""
        if sum(taken) > FEW_UNDER_WAY * lasted_s:
            return
        self._block += taken
        if len(self._block) < BLOCK:
            return
        block = sorted(self._block)
        self._block = []
        self._medians.append(block[len(block) // 2])
        self._p99s.append(block[int(len(block) * 0.99)])
        self.median_s, self.p99_s = _middle(self._medians), _middle(self._p99s)


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
