"""Who may do what: the one place that every verb asks before it changes state.

`allow` returns, or raises Denied with the reason. Rules are functions in an ordered table; each looks
at one request and returns None or a sentence. Who works at the machine is `admin`, for whoever can write
the ledger can do everything; who comes by way of the server has the role of their key or token. Overruling
a gate takes a reason, which goes on the audit trail. Does not know how anything is done, nor write
anything down: the verb that asked does, in its transaction.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from luban.errors import ConfigError, Denied

_MAX_NAME = 200

Role: TypeAlias = Literal["viewer", "caller", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "caller", "operator", "admin")
"""From least to most; each may do what those before it may."""
LEAST: dict[str, Role] = {"create": "admin", "revoke": "admin"}
"""The least role that a change takes, by its verb; all others take `operator`."""


@dataclass(frozen=True)
class Actor:
    """Who acts: a person or a service, by name, and what they may do."""

    name: str
    role: Role = "admin"

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > _MAX_NAME or not self.name.isprintable():
            raise ConfigError(
                f"`actor` must be a name of 1 to {_MAX_NAME} printable characters, but got {self.name[:40]!r}.",
                "Set LUBAN_ACTOR to a name that your team knows.",
            )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def current(cls) -> Actor:
        """Who runs this process: LUBAN_ACTOR, or the login name, or the user's number if it has none."""
        named = os.environ.get("LUBAN_ACTOR")
        if named is not None:
            return cls(named)
        try:
            return cls(getpass.getuser())
        except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
            return cls(f"user {os.getuid()}")


@dataclass(frozen=True)
class Request:
    """One thing that an actor wants to do. `force`: overrule what speaks against it."""

    actor: Actor
    verb: str
    object: str
    force: bool = False
    reason: str = ""


Rule = Callable[[Request], str | None]


def force_needs_a_reason(request: Request) -> str | None:
    """Overruling is allowed, silently overruling is not."""
    if request.force and not request.reason.strip():
        return "force needs a reason, which is kept on the audit trail"
    return None


def role_is_enough(request: Request) -> str | None:
    """A change takes its role."""
    least = LEAST.get(request.verb, "operator")
    if ROLES.index(request.actor.role) < ROLES.index(least):
        return f"that takes the role {least}, not {request.actor.role}"
    return None


RULES: tuple[Rule, ...] = (role_is_enough, force_needs_a_reason)


def allow(actor: Actor, verb: str, object: str, *, force: bool = False, reason: str = "") -> None:
    """Return if `actor` may do `verb` to `object`. Raises Denied with the first rule's reason if not.

    >>> allow(Actor("ada"), "promote", "model reviews")
    """
    request = Request(actor, verb, object, force, reason)
    for rule in RULES:
        said = rule(request)
        if said is not None:
            raise Denied(
                f"{actor} may not {verb} {object}: {said}.",
                'Give one: --force "…".' if rule is force_needs_a_reason else "Ask who owns this project.",
            )
