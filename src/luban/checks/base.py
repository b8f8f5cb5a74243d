"""How checks are named, found and run. Knows no component."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from luban.catalog import CATALOGS, Catalog, Config

CheckFunction = Callable[[Any], None]
"""Takes the component's class; raises AssertionError where the contract is broken."""

SUITES = {
    "sources": "luban.checks.settings",
    "sinks": "luban.checks.sinks",
    "features": "luban.checks.features",
    "tasks": "luban.checks.tasks",
    "runtimes": "luban.checks.runtimes",
    "families": "luban.checks.families",
    "towers": "luban.checks.towers",
    "converters": "luban.checks.converters",
    "steps": "luban.checks.steps",
    "compressors": "luban.checks.compressors",
    "explainers": "luban.checks.explainers",
    "gates": "luban.checks.gates",
    "targets": "luban.checks.targets",
}


@dataclass(frozen=True)
class Check:
    """One contract check of one catalog entry."""

    entry: str
    name: str
    function: CheckFunction
    component: Any

    @property
    def id(self) -> str:
        """`int8:round_trips`."""
        return f"{self.entry}:{self.name}"

    @property
    def exempt(self) -> str | None:
        """Why this entry need not pass, or None."""
        reason: str | None = getattr(self.component, "exempt", {}).get(self.name)
        return reason

    def run(self) -> None:
        """Raises AssertionError where the contract is broken."""
        self.function(self.component)


def all_checks(entries: set[str] | None = None) -> list[Check]:
    """Every check of its kind for every catalog entry, plug-ins included, or for those named.

    Raises ConfigError where an entry that is asked for is a plug-in that cannot be loaded; others do not matter.
    """
    return [check for catalog in CATALOGS for check in checks_of(catalog, entries)]


def checks_of(catalog: Catalog[Any], entries: set[str] | None = None) -> Iterator[Check]:
    """The checks of one catalog's entries: those of settings, and those of its kind."""
    names = [name for name in catalog.names() if entries is None or name in entries]
    if not names:
        return
    suite = importlib.import_module(SUITES[catalog.table.lower()])
    functions = [settings_are_documented, settings_are_frozen, *suite.CHECKS]
    for entry in names:
        component = catalog.resolve(entry)
        for function in functions:
            yield Check(entry, function.__name__, function, component)


def settings_are_documented(component: Any) -> None:
    """The class has a docstring, and every field of its Config a sentence."""
    assert component.__doc__, f"{component.__name__} needs a docstring: what it is, in a sentence"
    for name, field in component.Config.model_fields.items():
        assert field.description, f"{component.__name__}.Config.{name} needs a sentence below it"
    component.Config.model_json_schema()


def settings_are_frozen(component: Any) -> None:
    """Config is frozen, refuses unknown keys, and is the component's own."""
    assert issubclass(component.Config, Config), "Config must derive from luban.catalog.Config"
    assert component.Config.model_config.get("frozen"), "Config must be frozen"
    assert component.Config.model_config.get("extra") == "forbid", "Config must refuse unknown keys"
