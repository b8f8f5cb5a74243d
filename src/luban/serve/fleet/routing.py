"""How a model's questions are shared out: arms by weight, and shadows that are asked too but never heard.

A routing never changes; another takes its place by one assignment, so a question keeps the one that it began
with. Who holds an `Arm` keeps its bundle in memory, so nobody holds one longer than its question.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from luban.serve.fleet.served import Served


@dataclass(frozen=True)
class Arm:
    """One version that answers, by the name it has in its deployment; `weight` is its share, 0 to 1."""

    name: str
    served: Served
    weight: float = 1.0


@dataclass(frozen=True)
class Picked:
    """Who answers a question, and who is asked too without being heard."""

    arm: Arm
    shadows: tuple[Arm, ...] = ()
    revision: int = 0
    """Of the deployment that shared the questions out."""


@dataclass(frozen=True)
class Routing:
    """How a model's questions are shared out. Weights of `arms` add up to 1; `salt` decides who gets which."""

    arms: tuple[Arm, ...]
    shadows: tuple[Arm, ...] = ()
    revision: int = 0
    salt: str = ""

    @cached_property
    def _first(self) -> Picked:
        return Picked(self.arms[0], self.shadows, self.revision)

    def pick(self, sticky: str) -> Picked:
        """The arm for one who asks: the same for the same `sticky`, as long as weights are the same.

        Shares that grow keep those they had: a caller moves at most once while a canary steps up.
        """
        if len(self.arms) == 1:
            return self._first
        drawn = hashlib.blake2b(sticky.encode(), digest_size=8, key=self.salt.encode()[:64])
        place = int.from_bytes(drawn.digest()) / 2**64
        for arm in self.arms[:-1]:
            if place < arm.weight:
                return Picked(arm, self.shadows, self.revision)
            place -= arm.weight
        return Picked(self.arms[-1], self.shadows, self.revision)
