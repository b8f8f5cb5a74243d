"""Where bundles come from, and which of them share a model's questions.

    Plan        what somebody decided: arms by name, version (number or alias) and weight; shadows
    Lineup      the same, each version looked up: what should be served now
    Origin      gives the lineup, and the folder of each version

A plan that does not stand in the ledger is the alias alone. This module knows no loaded bundle, and not
who decides plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from luban.errors import ReleaseError, ServeError


@dataclass(frozen=True)
class PlannedArm:
    """One arm of a plan. `version` is a number or an alias, which is followed; `weight` its share, 0 to 1."""

    name: str
    version: int | str
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    """How a model's questions are to be shared out. Raises ServeError where it cannot be.

    Names of arms and shadows are all different; weights of arms add up to 1, those of shadows are the
    share of questions that they are asked too. `revision` is counted with what its arms do; equal `salt` keeps
    one who asks with a sticky key where a plan before had him.

    >>> Plan("reviews", (PlannedArm("champion", "champion", 0.9), PlannedArm("canary", 7, 0.1))).model
    'reviews'
    """

    model: str
    arms: tuple[PlannedArm, ...]
    shadows: tuple[PlannedArm, ...] = ()
    revision: int = 0
    salt: str = ""

    def __post_init__(self) -> None:
        names = [arm.name for arm in (*self.arms, *self.shadows)]
        if not self.arms or len(set(names)) != len(names):
            raise ServeError(f"A plan must have arms of different names, but got {', '.join(names) or 'none'}.")
        for arm in (*self.arms, *self.shadows):
            if not 0 <= arm.weight <= 1:
                raise ServeError(f"The weight of `{arm.name}` must be from 0 to 1, but got {arm.weight}.")
        total = math.fsum(arm.weight for arm in self.arms)
        if abs(total - 1) > 1e-6:
            raise ServeError(f"The weights of a plan's arms must add up to 1, but got {total:g}.")


@dataclass(frozen=True)
class Wanted:
    """One version: `key` is its own among its model's; number and identity where they are known."""

    key: str
    name: str | None = None
    version: int | None = None
    identity: str | None = None


@dataclass(frozen=True)
class WantedArm:
    """An arm whose version was looked up."""

    name: str
    wanted: Wanted
    weight: float = 1.0


@dataclass(frozen=True)
class Lineup:
    """What should be served of one model. Several arms may name one version; it is loaded once."""

    arms: tuple[WantedArm, ...]
    shadows: tuple[WantedArm, ...] = ()
    revision: int = 0
    salt: str = ""

    @classmethod
    def of(cls, wanted: Wanted, name: str = "champion") -> Lineup:
        """One version alone."""
        return cls((WantedArm(name, wanted),))

    def versions(self) -> list[Wanted]:
        """Each version once, the first arm's first."""
        return list({arm.wanted.key: arm.wanted for arm in (*self.arms, *self.shadows)}.values())

    def told(self) -> str:
        """Who answers which share, and who is asked unheard, for the log: `champion 1: 0.8, canary 2: 0.2`."""
        shares = [f"{arm.name} {arm.wanted.version or ''}".rstrip() + f": {arm.weight:.4g}" for arm in self.arms]
        return ", ".join([*shares, *(f"{arm.name} {arm.wanted.version}: unheard" for arm in self.shadows)])

    def alone(self) -> Lineup:
        """The first arm without the others."""
        return Lineup.of(self.arms[0].wanted, self.arms[0].name)


class Origin(Protocol):
    """Where a model's bundles come from. `look`, `version` and `fetch` raise LubanError or OSError."""

    moves: bool
    """Whether another lineup may be wanted later."""
    name: str
    """Name of the model; "" where only its bundle knows it."""

    def look(self) -> Lineup:
        """What should be served now. Cheap: asked every `poll_s`."""

    def numbered(self, number: int) -> Wanted:
        """The version of this number, whether it is in the lineup or not."""

    def fetch(self, wanted: Wanted) -> Path:
        """The folder of that bundle on this machine."""


class FolderOrigin:
    """A bundle in a folder: loaded once, never exchanged."""

    moves = False
    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def look(self) -> Lineup:
        """The folder."""
        return Lineup.of(Wanted(str(self.folder)))

    def numbered(self, number: int) -> Wanted:
        """None: a folder has no numbers."""
        raise ReleaseError(f"A bundle in a folder has no versions, but got {number}.", "Ask it without a version.")

    def fetch(self, wanted: Wanted) -> Path:
        """The folder."""
        return self.folder


class Release(Protocol):
    """A version of the registry, as far as serving needs it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def tree(self) -> str: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102


class AliasOrigin:
    """A model of the registry: its plan, or an alias, followed wherever it moves.

    `resolve(name, alias or number)` is `Registry.resolve`, `fetch(tree)` is `Store.fetch`, `plan(name)` is
    what the ledger's deployments say, None where they say nothing.
    """

    moves = True

    def __init__(
        self,
        name: str,
        alias: str,
        resolve: Callable[[str, str | int], Release],
        fetch: Callable[[str], Path],
        plan: Callable[[str], Plan | None] = lambda model: None,
    ) -> None:
        self.name = name
        self.alias = alias
        self._resolve = resolve
        self._fetch = fetch
        self._plan = plan

    def look(self) -> Lineup:
        """The versions that the plan, or the alias, names now."""
        plan = self._plan(self.name)
        if plan is None:
            return Lineup.of(self._look_up(self.alias))
        found: dict[str | int, Wanted] = {}

        def looked_up(arm: PlannedArm) -> WantedArm:
            if arm.version not in found:
                found[arm.version] = self._look_up(arm.version)
            return WantedArm(arm.name, found[arm.version], arm.weight)

        arms, shadows = tuple(map(looked_up, plan.arms)), tuple(map(looked_up, plan.shadows))
        return Lineup(arms, shadows, plan.revision, plan.salt)

    def numbered(self, number: int) -> Wanted:
        """The version of this number."""
        return self._look_up(number)

    def fetch(self, wanted: Wanted) -> Path:
        """The version's folder, from the store."""
        return self._fetch(wanted.key.partition(":")[2])

    def _look_up(self, which: str | int) -> Wanted:
        release = self._resolve(self.name, which)
        return Wanted(f"{release.number}:{release.tree}", release.name, release.number, release.identity)


class FixedOrigin(AliasOrigin):
    """A model of the registry by a plan that does not change, and is not looked for again: a job's."""

    moves = False

    def __init__(self, plan: Plan, resolve: Callable[[str, str | int], Release], fetch: Callable[[str], Path]) -> None:
        super().__init__(plan.model, "", resolve, fetch, lambda model: plan)
