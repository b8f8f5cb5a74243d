"""Versions and aliases as they stand in the ledger: records, and the rows they are read from.

Every function works within the caller's transaction and sees one workspace. Decides nothing: what may
be released or promoted is `registry`'s.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update

from luban.catalog import canonical
from luban.release.gates.base import Verdict
from luban.release.gates.run import failed
from luban.store.database import Transaction, now
from luban.store.tables import aliases, versions, withdrawn

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
DEFAULT = "default"


@dataclass(frozen=True)
class Version:
    """One released version. `tree` is its bundle in the store, `aliases` those of the default deployment."""

    name: str
    number: int
    tree: str
    identity: str
    actor: str
    created: str
    run_id: str
    aliases: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    forced_reason: str | None
    metrics: dict[str, float | None]
    audit_head: str

    @property
    def overruled(self) -> set[str]:
        """Codes of the gates that failed and were overruled with `forced_reason`."""
        return {verdict.code for verdict in failed(self.verdicts)}

    def to_json(self) -> dict[str, Any]:
        """The version as plain JSON."""
        return {
            **{name: getattr(self, name) for name in ("name", "number", "tree", "identity", "actor", "created")},
            "run_id": self.run_id,
            "aliases": list(self.aliases),
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
            "forced_reason": self.forced_reason,
            "metrics": self.metrics,
            "audit_head": self.audit_head,
        }


@dataclass(frozen=True)
class Release:
    """What is to be released: a bundle (`tree` in the store) of this identity, and what is known of it.

    `metrics` are its figures on test rows (for `diff`), `run_id` the run that made it, `audit_head` the
    one in its manifest.
    """

    name: str
    tree: str
    identity: str
    verdicts: Sequence[Verdict]
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    run_id: str = ""
    audit_head: str = ""


def of(tx: Transaction, name: str, **values: str | int) -> list[Any]:
    """Conditions that pick a model's versions in this workspace."""
    return [
        versions.c.workspace == tx.workspace,
        versions.c.model == name,
        *(versions.c[column] == value for column, value in values.items()),
    ]


def numbers_of(tx: Transaction, name: str) -> list[int]:
    """Numbers of a model's versions, newest first."""
    found = tx.execute(select(versions.c.version).where(*of(tx, name)).order_by(versions.c.version.desc()))
    return [int(row.version) for row in found]


def models_in(tx: Transaction) -> list[str]:
    """Names of all models with a version."""
    found = tx.execute(select(versions.c.model).where(versions.c.workspace == tx.workspace).distinct())
    return sorted(str(row.model) for row in found)


def aliases_of(tx: Transaction, name: str, deployment: str) -> dict[str, int]:
    """Version numbers by alias, in one deployment."""
    found = tx.execute(
        select(aliases.c.alias, aliases.c.version).where(
            aliases.c.workspace == tx.workspace, aliases.c.model == name, aliases.c.deployment == deployment
        )
    )
    return {row.alias: int(row.version) for row in found}


def move(tx: Transaction, name: str, deployment: str, moves: dict[str, Any]) -> None:
    """Let each alias name a version, or (None) nothing."""
    for alias, number in moves.items():
        place = {"workspace": tx.workspace, "model": name, "deployment": deployment, "alias": alias}
        where = [aliases.c[column] == value for column, value in place.items()]
        if number is None:
            tx.execute(aliases.delete().where(*where))
        elif not tx.execute(update(aliases).where(*where).values(version=number, time=now())).rowcount:
            tx.execute(insert(aliases).values(**place, version=number, time=now()))


def shift(tx: Transaction, name: str, deployment: str, taken: Collection[int], given: Collection[int]) -> None:
    """Note which versions were taken back, so that jobs under way leave them, and which are given questions (again)."""
    place = {"workspace": tx.workspace, "model": name, "deployment": deployment}
    where = [withdrawn.c[column] == value for column, value in place.items()]
    tx.execute(withdrawn.delete().where(*where, withdrawn.c.version.in_([*taken, *given])))
    for number in taken:
        tx.execute(insert(withdrawn).values(**place, version=number, time=now()))


def withdrawn_of(tx: Transaction, name: str, deployment: str) -> frozenset[int]:
    """Versions that were taken back, and were given no questions since."""
    place = (withdrawn.c.workspace == tx.workspace, withdrawn.c.model == name, withdrawn.c.deployment == deployment)
    return frozenset(int(row.version) for row in tx.execute(select(withdrawn.c.version).where(*place)))


def add_version(tx: Transaction, release: Release, number: int, actor: str, forced_reason: str | None) -> None:
    """Write a version's row; it must not be there."""
    detail = {
        "verdicts": [verdict.to_json() for verdict in release.verdicts],
        "forced_reason": forced_reason,
        "metrics": dict(release.metrics),
        "audit_head": release.audit_head,
    }
    row = {
        "workspace": tx.workspace,
        "model": release.name,
        "version": number,
        "tree": release.tree,
        "identity": release.identity,
        "run_id": release.run_id or None,
        "actor": actor,
        "time": now(),
        "detail": canonical(detail).decode(),
    }
    tx.execute(insert(versions).values(row))


def read_version(tx: Transaction, name: str, number: int) -> Version:
    """The version of this number, which must be there."""
    row = tx.execute(select(versions).where(*of(tx, name, version=number))).one()
    detail = json.loads(row.detail)
    return Version(
        name=name,
        number=number,
        tree=row.tree,
        identity=row.identity,
        actor=row.actor,
        created=row.time,
        run_id=row.run_id or "",
        aliases=tuple(sorted(alias for alias, at in aliases_of(tx, name, DEFAULT).items() if at == number)),
        verdicts=tuple(Verdict(**verdict) for verdict in detail["verdicts"]),
        forced_reason=detail["forced_reason"],
        metrics=detail["metrics"],
        audit_head=detail["audit_head"],
    )
