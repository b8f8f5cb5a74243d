"""The registry: released versions of models, and the aliases that say which one is used.

Decided here: versions of a model are numbered from 1 and never change; a bundle (by its identity) is
released once; the first becomes champion, later ones challenger; each change of state is one
transaction together with its entry on the audit trail, asked of `policy` first. A rollback goes to the
champion before the present one; the trail keeps both moves. Aliases belong to a (model, deployment).
Does not know how a model was made, nor who serves it.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from luban.catalog import nearest
from luban.errors import ReleaseError
from luban.policy.rules import Actor, allow
from luban.release.difference import Difference, differences
from luban.release.gates.run import failed, refuse
from luban.release.versions import (
    CHALLENGER,
    CHAMPION,
    DEFAULT,
    PREVIOUS,
    Release,
    Version,
    add_version,
    aliases_of,
    models_in,
    move,
    numbers_of,
    of,
    read_version,
    shift,
    withdrawn_of,
)
from luban.store.blobs import Store
from luban.store.database import Transaction
from luban.store.ledger import Ledger
from luban.store.tables import audit, versions

__all__ = ["CHALLENGER", "CHAMPION", "DEFAULT", "PREVIOUS", "Registry", "Release", "Version"]


class Registry:
    """Released models in one ledger and store. Threads and processes may share them."""

    def __init__(self, ledger: Ledger, store: Store) -> None:
        self._ledger = ledger
        self._store = store

    def release(
        self, release: Release, actor: Actor, forced_reason: str | None = None, promote: str | None = None
    ) -> Version:
        """Record a bundle as a version; the same identity again gives the version that is there, unmoved.

        `promote` is why it becomes champion in the same transaction; None lets it challenge. Raises
        ReleaseError naming every failed gate, unless a reason is given now or was when these gates failed
        before; it goes on the trail, also where the version was there. Denied if policy refuses;
        StoreError if the store has no such tree.
        """
        self._store.fetch(release.tree)
        stopped = {verdict.code for verdict in failed(release.verdicts)}
        forced = forced_reason if stopped else None
        allow(actor, "release", f"model {release.name}", force=forced is not None, reason=forced or "")
        with self._ledger.transaction() as tx:
            number = tx.scalar(select(versions.c.version).where(*of(tx, release.name, identity=release.identity)))
            known = None if number is None else read_version(tx, release.name, int(number))
            overruled = known is not None and stopped <= known.overruled
            if forced is None and not overruled:
                refuse(release.verdicts)
            if known is not None:
                if not overruled:
                    again = _object(known.name, known.number)
                    self._ledger.audit(tx, actor.name, "overrule", again, _entry(release, forced))
                return known
            number = 1 + max(numbers_of(tx, release.name), default=0)
            add_version(tx, release, number, actor.name, forced)
            self._ledger.audit(tx, actor.name, "release", _object(release.name, number), _entry(release, forced))
            if number == 1 or promote is not None:
                self._promote(tx, release.name, number, actor, DEFAULT, promote or "")
            else:
                move(tx, release.name, DEFAULT, {CHALLENGER: number})
            return read_version(tx, release.name, number)

    def promote(self, name: str, number: int, actor: Actor, deployment: str = DEFAULT, reason: str = "") -> Version:
        """Make a version champion; the champion before it is kept for `rollback`. Raises ReleaseError, Denied."""
        allow(actor, "promote", f"model {name}")
        with self._ledger.transaction() as tx:
            self.promote_within(tx, name, number, actor, deployment, reason)
            return read_version(tx, name, number)

    def promote_within(
        self, tx: Transaction, name: str, number: int, actor: Actor, deployment: str, reason: str
    ) -> None:
        """The same within the transaction of a larger change, which has asked `policy`."""
        _require(tx, name, number)
        self._promote(tx, name, number, actor, deployment, reason)

    def _promote(self, tx: Transaction, name: str, number: int, actor: Actor, deployment: str, reason: str) -> None:
        at = aliases_of(tx, name, deployment)
        before = at.get(CHAMPION)
        if before == number:
            return
        shift(tx, name, deployment, (), [number])
        moves: dict[str, int | None] = {CHAMPION: number, PREVIOUS: before}
        if at.get(CHALLENGER) == number:
            moves[CHALLENGER] = None
        move(tx, name, deployment, moves)
        detail = _moved(before, number, deployment, reason)
        self._ledger.audit(tx, actor.name, "promote", _object(name, number), detail)

    def rollback(self, name: str, actor: Actor, deployment: str = DEFAULT, reason: str = "") -> Version:
        """Give the champion's alias back to the one before it, which a second rollback undoes.

        Raises ReleaseError where there was no other champion, Denied.
        """
        allow(actor, "rollback", f"model {name}")
        with self._ledger.transaction() as tx:
            return read_version(tx, name, self.rollback_within(tx, name, actor, deployment, reason))

    def rollback_within(self, tx: Transaction, name: str, actor: Actor, deployment: str, reason: str) -> int:
        """The same within the transaction of a larger change, which has asked `policy`; gives the number."""
        at = aliases_of(tx, name, deployment)
        present, before = at.get(CHAMPION), at.get(PREVIOUS)
        if present is None or before is None:
            raise ReleaseError(
                f"`{name}` has had no champion before "
                f"{'the present one' if present is None else f'version {present}'} to go back to.",
                "List versions with `luban models list`, and promote one: `luban models promote NUMBER`.",
            )
        move(tx, name, deployment, {CHAMPION: before, PREVIOUS: present})
        shift(tx, name, deployment, [present], [before])
        detail = _moved(present, before, deployment, reason)
        self._ledger.audit(tx, actor.name, "rollback", _object(name, before), detail)
        return before

    def resolve(self, name: str, which: str | int | None = None, deployment: str = DEFAULT) -> Version:
        """The version that an alias or a number names; the champion where none is named. Raises ReleaseError."""
        found = self.find(name, which, deployment)
        if found is not None:
            return found
        with self._ledger.reading() as tx:
            numbers = numbers_of(tx, name)
            at = aliases_of(tx, name, deployment)
            models = models_in(tx)
        if not numbers:
            close = nearest(name, models)
            hint = f"Did you mean `{close}`? " if close else ""
            known = f"Released: {', '.join(models)}." if models else "Nothing is released yet: run `luban run`."
            raise ReleaseError(f"There is no released model `{name}`.", hint + known)
        known = f"Versions: {', '.join(map(str, numbers[:20]))}. Aliases: {', '.join(sorted(at)) or 'none'}."
        raise ReleaseError(f"`{name}` has no version or alias `{which or CHAMPION}`.", known)

    def find(self, name: str, which: str | int | None = None, deployment: str = DEFAULT) -> Version | None:
        """The same, or None where there is no such version."""
        wanted = CHAMPION if which is None else str(which)
        with self._ledger.reading() as tx:
            number = int(wanted) if wanted.isdecimal() else aliases_of(tx, name, deployment).get(wanted)
            if number is None or number not in numbers_of(tx, name):
                return None
            return read_version(tx, name, number)

    def withdrawn(self, name: str, deployment: str = DEFAULT) -> frozenset[int]:
        """Versions that were taken back (a rollback, the end of a share), and were given no questions since."""
        with self._ledger.reading() as tx:
            return withdrawn_of(tx, name, deployment)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, newest first."""
        with self._ledger.reading() as tx:
            return [read_version(tx, name, number) for number in numbers_of(tx, name)]

    def models(self) -> list[str]:
        """Names of all models with a version."""
        with self._ledger.reading() as tx:
            return models_in(tx)

    def heads(self, name: str) -> list[str]:
        """The heads of the audit trail that stand in released manifests: `Ledger.verify_audit` must find them."""
        return [version.audit_head for version in self.versions(name) if version.audit_head]

    def diff(self, name: str, first: int, second: int) -> list[Difference]:
        """What differs between two versions: figures, schema, row steps, encoders, stages, decoding, size."""
        a, b = self.resolve(name, first), self.resolve(name, second)
        return differences(self._store.fetch(a.tree), a.metrics, self._store.fetch(b.tree), b.metrics)

    def history(self, name: str) -> list[dict[str, Any]]:
        """The entries of the audit trail about a model, newest first, as flat rows."""
        with self._ledger.reading() as tx:
            found = tx.execute(
                select(audit)
                .where(
                    audit.c.workspace == tx.workspace,
                    audit.c.object.startswith(f"{_object(name, '')}", autoescape=True),
                )
                .order_by(audit.c.number.desc())
            ).all()
        return [
            {
                "number": row.number,
                "time": row.time,
                "actor": row.actor,
                "verb": row.verb,
                "object": row.object,
                "detail": json.loads(row.detail),
            }
            for row in found
        ]


def _require(tx: Transaction, name: str, number: int) -> None:
    numbers = numbers_of(tx, name)
    if number not in numbers:
        known = f"Versions: {', '.join(map(str, numbers[:20]))}." if numbers else "Nothing is released yet."
        raise ReleaseError(f"`{name}` has no version {number}.", known)


def _object(name: str, number: int | str) -> str:
    return f"model {name} version {number}"


def _entry(release: Release, forced: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"identity": release.identity, "tree": release.tree}
    entry["gates"] = {verdict.code: verdict.status for verdict in release.verdicts}
    return entry if forced is None else {**entry, "forced": forced}


def _moved(before: int | None, after: int, deployment: str = DEFAULT, reason: str = "") -> dict[str, Any]:
    detail: dict[str, Any] = {"deployment": deployment, "from": before, "to": after}
    return {**detail, "reason": reason} if reason else detail
