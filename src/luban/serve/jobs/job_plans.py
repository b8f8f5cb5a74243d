"""Who answers a job's rows: settled when it is handed in, and again where one of its versions was taken back since.

    planned    the lineup of the moment at which a job is handed in, each version by its number
    assigned   the same when it is worked on: a version that was taken back (`release.versions.withdraw`) gives its rows
               to the version that the server's alias names now

Decided here: what was taken back (a rollback, a canary or test that failed, an end that somebody put to its share) is
in no result that was not done by then, so a job under way begins anew (`TakenBack`); a champion that another followed
goes on, because nothing is wrong with it. Who may ask a version that answers nobody, and named one, insists on it:
that job goes on; whoever else named it gets no result but the reason. A row that was given to another version has an id
of its own, `JOB-NUMBER-vVERSION`: what the version before had answered was given to nobody, and its records go. Knows
no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, exists

from luban.errors import DataError, ServeError
from luban.serve.fleet.origins import Lineup, Plan, PlannedArm, Wanted, WantedArm
from luban.serve.fleet.shelf import NAMED
from luban.serve.learning.review_rows import OPEN, TAKEN
from luban.store.tables import answers, feedback, reviews

if TYPE_CHECKING:
    from luban.release.registry import Registry
    from luban.serve.jobs.job_files import Request
    from luban.store.ledger import Ledger


class TakenBack(Exception):
    """A version that answers a job was taken back while it did: the job begins anew, with what answers now."""


@dataclass(frozen=True)
class Assigned:
    """The plan that a job is worked on with. `instead`: by arm, the version that has its rows in its place."""

    plan: Plan
    instead: Mapping[str, int] = field(default_factory=dict)
    gone: frozenset[int] = frozenset()
    """Versions of the job's own plan that were taken back."""
    watched: frozenset[int] = frozenset()
    """Versions that may not be taken back before the job is done."""


def planned(model: str, lineup: Lineup) -> Plan:
    """Who answers a job's rows: the lineup of this moment, each version by its number.

    Raises ServeError where a version has no number, as a bundle from a folder has none.
    """

    def arms(wanted: Sequence[WantedArm]) -> tuple[PlannedArm, ...]:
        return tuple(PlannedArm(arm.name, _number(arm.wanted), arm.weight) for arm in wanted)

    return Plan(model, arms(lineup.arms), arms(lineup.shadows), lineup.revision, lineup.salt)


def assigned(request: Request, registry: Registry, alias: str) -> Assigned:
    """Who answers now. Raises DataError where the version that was named was taken back, ReleaseError, StoreError."""
    plan = _plan_in(request)
    numbers = frozenset(int(arm.version) for arm in plan.arms)
    if request.insists:
        return Assigned(plan)
    withdrawn = registry.withdrawn(request.model)
    gone = numbers & withdrawn
    if not gone:
        return Assigned(plan, watched=numbers)
    if request.plan is None:
        raise DataError(
            f"Version {request.version} was taken back after this job was handed in.",
            "Hand the file in again without `version`.",
        )
    now = registry.resolve(request.model, alias).number
    gone -= {now}  # A server of another alias may serve what is withdrawn beside the champion.
    arms = tuple(replace(arm, version=now) if arm.version in gone else arm for arm in plan.arms)
    shadows = tuple(arm for arm in plan.shadows if arm.version not in withdrawn)
    instead = {arm.name: now for arm in plan.arms if arm.version in gone}
    watched = frozenset(int(arm.version) for arm in arms) - withdrawn
    return Assigned(replace(plan, arms=arms, shadows=shadows), instead, gone, watched)


def forget_answers(ledger: Ledger, model: str, job: str, gone: frozenset[int]) -> None:
    """Drop records of what versions that were taken back had answered for a job, for nobody was given it.

    What somebody said of a row meanwhile, in the review queue or as feedback, stays with its answer.
    """
    if not gone:
        return
    same = and_(*(feedback.c[name] == answers.c[name] for name in ("workspace", "request_id", "position")))
    with ledger.transaction() as tx:
        for table, more in ((reviews, reviews.c.status.in_((OPEN, TAKEN))), (answers, ~exists().where(same))):
            of_job = (table.c.workspace == tx.workspace, table.c.model == model, table.c.version.in_(gone))
            tx.execute(delete(table).where(*of_job, table.c.request_id.like(f"{job}-%"), more))


def _plan_in(request: Request) -> Plan:
    """The plan that a job was handed in with; its version alone where it names one."""
    found = request.plan
    if found is None:
        return Plan(request.model, (PlannedArm(NAMED, request.version),))
    arms, shadows = (tuple(PlannedArm(**arm) for arm in found[name]) for name in ("arms", "shadows"))
    return Plan(request.model, arms, shadows, found["revision"], found["salt"])


def _number(wanted: Wanted) -> int:
    if wanted.version is None:
        raise ServeError("A job needs a released version, which can be found again; a bundle from a folder is none.")
    return wanted.version
