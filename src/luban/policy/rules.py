"""Who may do what: the one place that every verb asks before it changes state.

`allow` returns, or raises Denied with the reason. Rules are functions in an ordered table; each looks
at one request and returns None or a sentence. For now everyone at the machine may do everything, but
overruling a gate takes a reason, which goes on the audit trail. Roles will be one more rule here.
Does not know how anything is done, nor write anything down: the verb that asked does, in its transaction.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from dataclasses import dataclass

from luban.errors import ConfigError, Denied

_MAX_NAME = 200


@dataclass(frozen=True)
class Actor:
    """Who acts: a person or a service, by name."""

    name: str

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


RULES: tuple[Rule, ...] = (force_needs_a_reason,)


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
