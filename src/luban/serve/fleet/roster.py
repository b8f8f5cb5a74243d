"""Which models of a registry a server has, by `serve.models`: the project's own, those that are named, or all.

Decided here: a name that no model or alias has, while others are released, is a typing error and ends the start. Where
nothing is released yet, or the project's own is not, the server waits for the first release: containers often
start before it. The log and `/ready` say what is waited for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from luban.release.deployments import Deployments
from luban.release.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from luban.serve.fleet.fleet import Origins
from luban.serve.fleet.origins import AliasOrigin, Origin, Plan
from luban.serve.traffic.plans import plan_of

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.store.home import Home


def roster(own: str, config: ServeConfig, home: Home) -> Origins:
    """Origins of the models in `home`, `own` being the project's; with `all`, models that are released later join.

    Raises ReleaseError for a model or an alias that is not known, and StoreError where the ledger cannot be read.
    """
    registry = Registry(home.ledger, home.store)
    _must_be_known(own, config, registry)
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


def _must_be_known(own: str, config: ServeConfig, registry: Registry) -> None:
    released = registry.models()
    named = () if isinstance(config.models, str) else config.models
    for name in named:
        if released and name not in released and name != own:
            registry.resolve(name)  # raises, and names those that there are
    asked = released if config.models == "all" else [name for name in named or (own,) if name in released]
    may_come = config.alias in (CHAMPION, CHALLENGER, PREVIOUS)
    if asked and not may_come and all(registry.find(name, config.alias) is None for name in asked):
        registry.resolve(asked[0], config.alias)
