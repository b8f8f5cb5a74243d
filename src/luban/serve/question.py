"""What flows through the server, whatever protocol it came by: an entry, a question, a reply.

    Entry      before a body is read: who asks which model, and how much
    Question   rows with options
    Reply      one answer a row, and who gave it

Protocols make questions and write replies; guards look at entries; finishers add to answers, listeners
learn of them (`desk.py`). This module knows no protocol, no key and no bundle's inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from luban.policy.rules import ROLES, Role
from luban.serve.watch.track import Track

if TYPE_CHECKING:
    from luban.serve.fleet.routing import Arm, Picked

__all__ = ["ANYBODY", "ROLES", "Answer", "Caller", "Entry", "Question", "Reply", "Role"]

Answer: TypeAlias = dict[str, Any]
"""One row's answer as plain JSON, or `{"error": reason}`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `models` are those it may ask, None for all; `id` is its key's or token's, "" where there is none."""

    name: str
    role: Role = "admin"
    models: frozenset[str] | None = None
    id: str = ""

    def may(self, role: Role) -> bool:
        """Whether it may do what needs `role`."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def may_ask(self, model: str) -> bool:
        """Whether it may ask this model."""
        return self.models is None or model in self.models

    def owns(self, model: str, asker: str) -> bool:
        """Whether an answer of this model is its to know of: the id that asked is its own, or it is an operator."""
        return asker == self.id or (self.may("operator") and self.may_ask(model))


ANYBODY = Caller("anybody")
"""Who asks where no key is needed."""


@dataclass(slots=True)
class Entry:
    """A request at the door, before its body is read. `num_bytes` is what its head says, 0 where it does not.

    Nobody changes one; that is not enforced, for it would cost a microsecond a request.
    """

    caller: Caller
    model: str
    request_id: str
    num_bytes: int = 0
    track: Track = field(default_factory=Track, compare=False)
    """Notes of the request, for the log and for traces."""


@dataclass(slots=True)
class Question:
    """One request for answers.

    `rows` are unchecked; `options` those of the task, unchecked. `sticky` keeps one who asks again at one
    arm of a deployment. `deadline` is a time of `time.monotonic`, after which nobody waits any more.
    `explain`: reasons are asked for, too. `version`: this very one, and no arm.
    """

    entry: Entry
    rows: list[Any]
    options: Mapping[str, Any] | None = None
    version: int | None = None
    sticky: str = ""
    deadline: float = math.inf
    explain: bool = False
    background: bool = False
    """Nobody waits for the answer, so how long it takes says nothing of how quick answers are."""
    reasons: list[dict[str, Any]] | None = None
    """What is added to each answer where reasons were asked for, once they were looked for."""
    reasons_s: float = 0.0
    """How long that took."""


@dataclass(slots=True)
class Reply:
    """The answers to one question, in the order of its rows; `seconds` from its beginning to here."""

    picked: Picked
    answers: list[Answer]
    num_errors: int
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)
    """Members beside `answers` that a finisher adds to the response."""
    marked: dict[int, list[str]] | None = None
    """Positions of answers that a person should look at, and why; None where there are none."""

    @property
    def arm(self) -> Arm:
        """Who answered."""
        return self.picked.arm
