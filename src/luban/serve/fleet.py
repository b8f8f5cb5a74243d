"""Which bundles are loaded, and which of them answers a question.

A model has a `Routing`: arms that share its questions by weight, and shadows that are asked too but
never heard. It is exchanged by one assignment, so a question keeps the routing that it began with.
Knows no protocol; how a bundle is loaded is `live`'s.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from luban.serve.problems import Problem

if TYPE_CHECKING:
    from luban.serve.live import LiveBundle, Served
    from luban.serve.question import Question

LATER = {"retry-after": "1"}


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

    def pick(self, sticky: str) -> Picked:
        """The arm for one who asks: the same for the same `sticky`, as long as weights are the same.

        Shares that grow keep those they had: a caller moves at most once while a canary steps up.
        """
        if len(self.arms) == 1:
            return Picked(self.arms[0], self.shadows, self.revision)
        drawn = hashlib.blake2b(sticky.encode(), digest_size=8, key=self.salt.encode()[:64])
        place = int.from_bytes(drawn.digest()) / 2**64
        for arm in self.arms[:-1]:
            if place < arm.weight:
                return Picked(arm, self.shadows, self.revision)
            place -= arm.weight
        return Picked(self.arms[-1], self.shadows, self.revision)


class Fleet:
    """The models of one server, by name; the first is asked where no model is named."""

    def __init__(self, models: dict[str, LiveBundle]) -> None:
        self._models = models

    def names(self) -> list[str]:
        """Names of the models that this server may be asked."""
        return list(self._models)

    def live(self, model: str = "") -> LiveBundle:
        """One model. Raises Problem where there is no such one."""
        if not model:
            return next(iter(self._models.values()))
        if model not in self._models:
            raise Problem("no-such-model", f"There is no model `{model}` here.", f"Models: {', '.join(self._models)}.")
        return self._models[model]

    def pick(self, question: Question) -> Picked:
        """Who answers. Raises Problem where nothing is loaded."""
        live = self.live(question.entry.model)
        routing = live.routing
        if routing is None:
            raise Problem("no-model", live.reason, "Release a model, or wait until it is loaded.", None, LATER)
        return routing.pick(question.sticky or question.entry.request_id)
