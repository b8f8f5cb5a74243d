"""Whether a new version takes the champion's place: the project's rule on the paired test.

Knows the comparison that `evaluate` made; moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from luban.release.config import Promote

Decided = tuple[bool, str]
"""Whether to promote, and the reason in a sentence."""


def _significant(comparison: dict[str, Any] | None) -> Decided:
    if comparison is None:
        return False, "It was not compared with the champion on the same rows."
    if comparison["low"] is None:
        return False, f"The difference to the champion has no interval: {comparison['reason']}."
    found = (
        f"{comparison['metric']} differs from the champion's by {comparison['difference']:+.4f} "
        f"({comparison['low']:+.4f} to {comparison['high']:+.4f}, above zero is better)"
    )
    if comparison["significant"]:
        return True, f"{found}: it is better."
    return False, f"{found}: {'it is worse' if comparison['worse'] else 'that may be chance'}."


RULES: dict[Promote, Callable[[dict[str, Any] | None], Decided]] = {
    "significant": _significant,
    "always": lambda comparison: (True, "The project says `promote: always`."),
    "never": lambda comparison: (False, "The project says `promote: never`: promote it by command."),
}


def should_promote(rule: Promote, comparison: dict[str, Any] | None) -> Decided:
    """Whether a challenger becomes champion under `rule`, and why.

    `comparison` is `evaluation["comparisons"]["champion"]`, or None where the two were not compared.

    >>> should_promote("never", None)[0]
    False
    """
    return RULES[rule](comparison)
