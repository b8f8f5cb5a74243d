"""What time it is, for what expires: a clock that a jump of the system's clock does not turn back.

`now` is the later of the system's clock and the one that was right at the start and has run evenly since. So a
key that has expired stays expired when the system's clock is set back, and expires early, never late, where it is
set forward. Whoever starts with a clock that is ahead must be started again once it is right.
"""

from __future__ import annotations

import time


class Clock:
    """Seconds since 1970."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def now(self) -> float:
        """The time for what ends: no clock says that it is later."""
        return max(time.time(), self._ahead + time.monotonic())

    def earliest(self) -> float:
        """The time for what begins: no clock says that it is earlier."""
        return min(time.time(), self._ahead + time.monotonic())
