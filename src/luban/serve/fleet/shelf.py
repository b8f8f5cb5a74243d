"""What is loaded of one model: all that answers, and spare versions; and how either is given back.

A version that no longer answers, or that was asked for by its number, is a *spare* for a while. In use is what
somebody holds the `Served` of, as every arm does: so who answers a question holds its arm until the end, and nobody
holds one longer. To give it back, the shelf lets it go, and looks whether it lives on; then somebody holds it, and it
is put back. That counts on references being counted, as CPython does. Whatever changes here is changed by whoever
has `Memory.turn`; reading needs no lock. Knows not where bundles come from.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from dataclasses import dataclass

from luban.serve.fleet.memory import Holding, Memory
from luban.serve.fleet.origins import Lineup, WantedArm
from luban.serve.fleet.routing import Arm, Routing
from luban.serve.fleet.served import Served

LOG = logging.getLogger("luban.serve")
NAMED = "named"
"""Name of the arm of a version that was asked for by its number."""


class Shelf:
    """Of one model. What it tells may be read by any thread at any time."""

    def __init__(self, memory: Memory) -> None:
        self.routing: Routing | None = None
        """How questions are shared out; None where nothing that answers is loaded."""
        self.lineup: Lineup | None = None
        """What answers, or would if it were loaded; None where nothing good was found yet."""
        self._memory = memory
        self._used = memory.clock()
        self._spares: tuple[_Spare, ...] = ()
        memory.join(self)

    def spares(self) -> list[Served]:
        """What is loaded and does not answer unless asked for by number."""
        return [spare.arm.served for spare in self._spares]

    def held(self) -> dict[str, Served]:
        """All that is loaded, by the key of its version."""
        return {**{served.wanted.key: served for served in self.spares()}, **_by_key(self.routing)}

    def touch(self) -> None:
        """Note that it is asked now."""
        self._used = self._memory.clock()

    def find(self, number: int) -> Arm | None:
        """The arm, shadow or spare of this version; None where it is not loaded."""
        routing = self.routing
        for arm in (*routing.arms, *routing.shadows) if routing is not None else ():
            if arm.served.version == number:
                return arm
        for spare in self._spares:
            if spare.arm.served.version == number:
                spare.used = self._memory.clock()
                return spare.arm
        return None

    def exchange(self, lineup: Lineup, routing: Routing) -> None:
        """Let this routing, made of this lineup, answer from now on; what no longer answers is spare."""
        now, keys, spared = self._memory.clock(), _by_key(routing), {s.arm.served.wanted.key for s in self._spares}
        left = [served for key, served in _by_key(self.routing).items() if key not in keys and key not in spared]
        spares = [spare for spare in self._spares if spare.arm.served.wanted.key not in keys]
        self.routing = routing
        self._spares = (*spares, *(_Spare(Arm(NAMED, served), now) for served in left))
        self.lineup, self._used = lineup, now
        left.clear()
        self._memory.make_room(0, keep=self)

    def add_spare(self, served: Served) -> Arm:
        """Keep a version that was asked for by its number."""
        arm = Arm(NAMED, served)
        self._spares = (*self._spares, _Spare(arm, self._memory.clock()))
        self._memory.make_room(0)
        return arm

    def holdings(self) -> list[Holding]:
        """What is loaded now, for the account of memory. No holding holds an arm."""
        routing = self.routing
        found: list[Holding] = [
            _Holding(self, spare.arm.served.wanted.key, spare.arm.served.cost_bytes, spare.used)
            for spare in self._spares
        ]
        return found if routing is None else [*found, _Holding(self, None, cost_of(routing), self._used)]

    def rest(self) -> bool:
        """Drop all that answers; False, and nothing has changed, where a question holds it. Needs `Memory.turn`."""
        routing, lineup = self.routing, self.lineup
        if routing is None or lineup is None:
            return False
        held = _by_key(routing)
        self.routing = routing = None
        back = self._let_go(held)
        if back:
            self.routing = routing_of(lineup, back)
        return not back

    def drop(self, key: str) -> bool:
        """The same for a spare."""
        spare = next((one for one in self._spares if one.arm.served.wanted.key == key), None)
        if spare is None:
            return False
        held, used = {key: spare.arm.served}, spare.used
        self._spares, spare = tuple(one for one in self._spares if one is not spare), None
        back = self._let_go(held)
        if back:
            self._spares = (*self._spares, _Spare(Arm(NAMED, back[key]), used))
        return not back

    def _let_go(self, held: dict[str, Served]) -> dict[str, Served]:
        """Drop what nobody but `held` holds; all of it is given again where somebody holds one."""
        parts = {key: (one.wanted, one.bundle, one.since, one.cost_bytes) for key, one in held.items()}
        named = [(one.name, one.version) for one in held.values()]
        watches = {key: weakref.ref(one) for key, one in held.items()}
        held.clear()
        alive = {key: watch() for key, watch in watches.items()}
        if any(one is not None for one in alive.values()):
            return {key: one if one is not None else Served(*parts[key]) for key, one in alive.items()}
        parts.clear()
        self._memory.given_back(len(named))
        for name, version in named:
            LOG.info("model unloaded", extra={"fields": {"model": name, "version": version}})
        return {}


@dataclass
class _Spare:
    arm: Arm
    used: float


@dataclass(frozen=True)
class _Holding:
    """What is given back together: the spare of this key, or (None) all that answers."""

    shelf: Shelf
    key: str | None
    cost_bytes: int
    used: float

    @property
    def answers(self) -> bool:
        return self.key is None

    def give_back(self) -> bool:
        return self.shelf.rest() if self.key is None else self.shelf.drop(self.key)


def routing_of(lineup: Lineup, held: Mapping[str, Served]) -> Routing:
    """The routing of a lineup, all of whose versions are loaded."""

    def arms(wanted: tuple[WantedArm, ...]) -> tuple[Arm, ...]:
        return tuple(Arm(arm.name, held[arm.wanted.key], arm.weight) for arm in wanted)

    return Routing(arms(lineup.arms), arms(lineup.shadows), lineup.revision, lineup.salt)


def cost_of(routing: Routing) -> int:
    """Memory of its bundles, each counted once."""
    return sum(served.cost_bytes for served in _by_key(routing).values())


def _by_key(routing: Routing | None) -> dict[str, Served]:
    arms = (*routing.arms, *routing.shadows) if routing is not None else ()
    return {arm.served.wanted.key: arm.served for arm in arms}
