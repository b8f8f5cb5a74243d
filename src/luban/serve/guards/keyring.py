"""API keys in the ledger: made, listed, revoked. `luban keys` is its face, `door.py` its reader.

A key is `luban_<id>_<secret>`; the secret has 256 random bits, so its SHA-256 needs no salt and no slow
hash (there is nothing to guess). Only the hash is kept: a key is shown once, when it is made. Making and revoking
are asked of `policy` and stand on the audit trail in the same transaction, without the key.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from luban.errors import ConfigError, StoreError
from luban.policy.rules import ROLES, Actor, Role, allow
from luban.serve.guards.key_records import PREFIX, KeyRecord, hashed
from luban.serve.guards.limits_config import LimitConfig
from luban.store.database import Transaction, now
from luban.store.ledger import Ledger
from luban.store.tables import api_keys

_DAY_S = 86_400.0
_UNITS = {"h": 3600.0, "d": _DAY_S, "w": 7 * _DAY_S}
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


@dataclass(frozen=True)
class NewKey:
    """What a key should be. `lives_s` is how long it is good, None for ever."""

    name: str
    role: Role = "caller"
    models: tuple[str, ...] | None = None
    lives_s: float | None = 90 * _DAY_S
    limit: LimitConfig | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name.strip()):
            raise ConfigError(f"`name` must be 1 to 100 printable characters, but got {self.name[:40]!r}.")
        if self.role not in ROLES:
            raise ConfigError(f"`role` must be one of {', '.join(ROLES)}, but got {self.role!r}.")
        if self.models is not None and not self.models:
            raise ConfigError("`models` must name a model, but got none.", "Leave it out to allow all.")


class Keyring:
    """The keys of one workspace. Methods raise StoreError, and Denied where policy refuses."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def create(self, new: NewKey, actor: Actor) -> tuple[str, KeyRecord]:
        """Make a key; gives the key itself, which is nowhere else, and what is kept of it."""
        allow(actor, "create", "API key")
        id = secrets.token_hex(8)
        key = f"{PREFIX}_{id}_{secrets.token_urlsafe(32)}"
        with self._ledger.transaction() as tx:
            row = {
                "id": id,
                "name": new.name.strip(),
                "hash": hashed(key).hex(),
                "role": new.role,
                "models": json.dumps(None if new.models is None else sorted(new.models)),
                "limits": json.dumps(None if new.limit is None else new.limit.model_dump(mode="json")),
                "created": now(),
                "created_by": actor.name,
                "expires": None if new.lives_s is None else tx.clock() + new.lives_s,
                "revoked": None,
            }
            tx.execute(insert(api_keys).values(workspace=tx.workspace, **row))
            told = {name: row[name] for name in ("name", "role", "models", "limits", "expires")}
            self._ledger.audit(tx, actor.name, "create", f"key {id}", told)
            return key, _record(tx.execute(_all(tx).where(api_keys.c.id == id)).one())

    def revoke(self, which: str, actor: Actor) -> KeyRecord:
        """Take a key's power away, by its id or a name that one good key alone has; again changes nothing."""
        allow(actor, "revoke", "API key")
        with self._ledger.transaction() as tx:
            found = _find(tx, which)
            if found.revoked is None:
                named = (api_keys.c.workspace == tx.workspace, api_keys.c.id == found.id)
                tx.execute(update(api_keys).where(*named).values(revoked=now()))
                self._ledger.audit(tx, actor.name, "revoke", f"key {found.id}", {"name": found.name})
            return _record(tx.execute(_all(tx).where(api_keys.c.id == found.id)).one())

    def records(self) -> dict[str, KeyRecord]:
        """All keys that ever were, by id, the newest last."""
        with self._ledger.reading() as tx:
            rows = tx.execute(_all(tx).order_by(api_keys.c.created, api_keys.c.id)).all()
        return {row.id: _record(row) for row in rows}


def lifetime(text: str) -> float | None:
    """Seconds in `12h`, `90d` or `52w`; None for `never`. Raises ConfigError.

    >>> lifetime("90d"), lifetime("never")
    (7776000.0, None)
    """
    if text == "never":
        return None
    found = re.fullmatch(r"(\d{1,5})([hdw])", text)
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"`expires` must be a time such as 12h, 90d or 52w, or `never`, but got {text[:40]!r}.")
    return int(found[1]) * _UNITS[found[2]]


def _find(tx: Transaction, which: str) -> KeyRecord:
    rows = [_record(row) for row in tx.execute(_all(tx)).all()]
    by_id = [row for row in rows if row.id == which]
    named = [row for row in rows if row.name == which]
    good = [row for row in named if row.revoked is None] or named[-1:]
    found = by_id or good
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(row.id for row in found)
        raise StoreError(f"{len(found)} keys are called `{which}`: {ids}.", "Say which, by its id.")
    raise StoreError(f"There is no API key `{which[:80]}`.", "List them with `luban keys list`.")


def _all(tx: Transaction) -> Any:
    return select(api_keys).where(api_keys.c.workspace == tx.workspace)


def _record(row: Any) -> KeyRecord:
    models, limit = json.loads(row.models), json.loads(row.limits)
    return KeyRecord(
        id=row.id,
        name=row.name,
        hash=bytes.fromhex(row.hash),
        role=row.role,
        models=None if models is None else frozenset(models),
        limit=_limit(limit),
        created=row.created,
        created_by=row.created_by,
        expires=row.expires,
        revoked=row.revoked,
    )


def _limit(found: Mapping[str, Any] | None) -> LimitConfig | None:
    return None if not found else LimitConfig.model_validate(found)
