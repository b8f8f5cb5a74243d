"""The plan that a deployment makes for servers: arms beside the champion, shadows, revision and salt.

Knows the records of `release.rollout`; loads nothing.
"""

from __future__ import annotations

from luban.release.standing import Standing
from luban.serve.fleet.origins import Plan, PlannedArm

CHAMPION, SHADOW = "champion", "shadow"


def plan_of(at: Standing) -> Plan | None:
    """What servers should do; None where the champion answers alone, or there is none.

    The champion stands first: shares of the others grow at its cost, and whoever is with them stays.
    """
    if at.champion is None or not (at.split or at.shadows):
        return None
    arms = tuple(PlannedArm(name, number, share) for name, number, share in at.split)
    rest = max(0.0, 1.0 - sum(arm.weight for arm in arms))
    shadows = tuple(
        PlannedArm(SHADOW if len(at.shadows) == 1 else f"{SHADOW}-{number}", number) for number in at.shadows
    )
    return Plan(at.model, (PlannedArm(CHAMPION, at.champion, rest), *arms), shadows, at.revision, at.state.salt)
