"""How fast a promise is used up: multi-window, multi-burn-rate alerts.

A promise of 99.9 % leaves a budget of 0.1 % over 30 days. A burn rate of 1 uses it up in just that time, 14.4 in
two days. An alert is raised where a long and a short window both burn faster than their limit: the long one so that it
is no accident, the short one so that the alert ends soon after its cause. Windows and rates are those of the
Site Reliability Workbook, chapter 5, table 5-8 (https://sre.google/workbook/alerting-on-slos/).

Two additions for small services: MIN_FAILURES in the long window, since one failure among three requests of a night
is a rate of a third; and a limit is at most MAX_RATIO, since a promise of 90 % times 14.4 can never be reached.
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD_DAYS = 30
MIN_FAILURES = 5
MAX_RATIO = 0.9


@dataclass(frozen=True)
class Burn:
    """One pair of windows, how fast the budget burns in both, and whom it wakes."""

    long: str
    short: str
    rate: float
    severity: str

    def limit(self, budget: float) -> float:
        """The share of bad requests above which this alert is raised; `budget` is the share that is allowed.

        >>> Burn("1h", "5m", 14.4, "page").limit(0.001)
        0.0144
        """
        return round(min(self.rate * budget, MAX_RATIO), 9)

    def used(self) -> float:
        """Share of the period's budget that is gone when the long window first says so.

        >>> round(Burn("1h", "5m", 14.4, "page").used(), 4), round(Burn("3d", "6h", 1, "ticket").used(), 4)
        (0.02, 0.1)
        """
        return self.rate * hours(self.long) / (PERIOD_DAYS * 24)


BURNS = (
    Burn("1h", "5m", 14.4, "page"),
    Burn("6h", "30m", 6.0, "page"),
    Burn("1d", "2h", 3.0, "ticket"),
    Burn("3d", "6h", 1.0, "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


def hours(window: str) -> float:
    """A window in hours.

    >>> hours("30m"), hours("3d")
    (0.5, 72.0)
    """
    return float(window[:-1]) * {"m": 1 / 60, "h": 1.0, "d": 24.0}[window[-1]]
