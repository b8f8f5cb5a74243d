"""How a deployment stands: its champion, the state beside it, and both as rows of the ledger.

Decided here: the state is one JSON document beside a revision, so that a change is one row; champion and previous are
aliases, which the registry moves. Reads and writes within a transaction that somebody else holds; knows no rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select, update

from luban.policy.rules import Actor
from luban.release.rollout import State
from luban.release.versions import CHAMPION, PREVIOUS, aliases_of
from luban.store.database import Transaction, now
from luban.store.tables import deployments, feedback


@dataclass(frozen=True)
class Standing:
    """A deployment as it is now. `revision` is 0 where nothing was ever said; `time` is ISO 8601."""

    model: str
    deployment: str
    champion: int | None
    previous: int | None
    revision: int
    state: State
    actor: str = ""
    time: str = ""

    @property
    def split(self) -> tuple[tuple[str, int, float], ...]:
        """Name, version and share of each arm beside the champion."""
        return self.state.split(self.champion)

    @property
    def shadows(self) -> tuple[int, ...]:
        """Versions that are asked without being heard, the champion left out."""
        return tuple(number for number in self.state.shadows if number != self.champion)


def read(tx: Transaction, model: str, deployment: str) -> Standing:
    """How a deployment stands in this transaction."""
    at = aliases_of(tx, model, deployment)
    champion, previous = at.get(CHAMPION), at.get(PREVIOUS)
    row = tx.execute(select(deployments).where(*_place(tx, model, deployment))).first()
    if row is None:
        return Standing(model, deployment, champion, previous, 0, State())
    state = State.model_validate_json(row.state)
    return Standing(model, deployment, champion, previous, int(row.revision), state, row.actor, row.time)


def write(tx: Transaction, at: Standing, revision: int, state: State, actor: Actor) -> None:
    """Let it stand otherwise, as `actor` wants it."""
    values = {"revision": revision, "state": state.model_dump_json(), "actor": actor.name, "time": now()}
    if at.revision:
        tx.execute(update(deployments).where(*_place(tx, at.model, at.deployment)).values(values))
    else:
        place = {"workspace": tx.workspace, "model": at.model, "deployment": at.deployment}
        tx.execute(insert(deployments).values(**place, **values))


def _place(tx: Transaction, model: str, deployment: str) -> tuple[Any, ...]:
    table = deployments.c
    return (table.workspace == tx.workspace, table.model == model, table.deployment == deployment)


def last_truth(tx: Transaction, model: str) -> int:
    """Number of the newest truth of a model; 0 where there is none."""
    mine = (feedback.c.workspace == tx.workspace, feedback.c.model == model)
    return int(tx.scalar(select(func.max(feedback.c.number)).where(*mine)) or 0)
