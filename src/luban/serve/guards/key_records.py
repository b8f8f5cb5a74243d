"""What is known of one API key of the ledger, and how a key is recognised. Knows no database: see `keyring.py`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from luban.policy.rules import Role
from luban.serve.guards.limits_config import LimitConfig

PREFIX = "luban"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key. `expires` in seconds since 1970, None for never; `models` None for all."""

    id: str
    name: str
    hash: bytes
    role: Role
    models: frozenset[str] | None
    limit: LimitConfig | None
    created: str
    created_by: str
    expires: float | None
    revoked: str | None

    def state(self, at: float) -> str:
        """`revoked`, `expired` or `good`, at a time in seconds since 1970."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= at else "good"


def hashed(key: str) -> bytes:
    """SHA-256 of a key."""
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


def id_in(token: str) -> str | None:
    """The id in what looks like one of these keys; None where it does not."""
    parts = token.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX else None
