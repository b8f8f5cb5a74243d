"""Which models of a registry a server has, by `serve.models`: the project's own, those that are named, or all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luban.release.deployments import Deployments
from luban.release.registry import CHAMPION, Registry
from luban.serve.fleet.fleet import Origins
from luban.serve.fleet.origins import AliasOrigin, Origin, Plan
from luban.serve.traffic.plans import plan_of

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.store.home import Home


def roster(own: str, config: ServeConfig, home: Home) -> Origins:
    """Origins of the models in `home`, `own` being the project's; with `all`, models that are released later join."""
    registry = Registry(home.ledger, home.store)
    deployments = Deployments(home.ledger, registry)

    def plan(name: str) -> Plan | None:
        # A server that follows another alias has no part in what shares the champion's questions.
        return plan_of(deployments.read(name)) if config.alias == CHAMPION else None

    def origin(name: str) -> Origin:
        return AliasOrigin(name, config.alias, registry.resolve, home.store.fetch, plan)

    if config.models == "own":
        return Origins((origin(own),))
    if config.models != "all":
        return Origins(tuple(map(origin, dict.fromkeys(config.models))))

    def released() -> Sequence[Origin]:
        return [origin(name) for name in registry.models()]

    # The project's own is asked where none is named, whether it is released yet or not.
    others = [one for one in released() if one.name != own]
    return Origins((origin(own), *others), released)
