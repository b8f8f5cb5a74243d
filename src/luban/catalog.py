"""Catalogs: the tables of everything that can be plugged in, and how a name becomes a class.

Each folder that holds kinds of one thing has a table in its `__init__.py`:

    GATES = {"baseline": ".baseline:BaselineGate", ...}

A `Catalog` reads such a table and, beside it, the entry points of installed packages (group
`luban.gates`, names `vendor:kind`), and imports an entry only when it is used. Decided here:

- tables are explicit and lazy: no registration by import, no scanning of folders;
- a plug-in's name has its vendor before a colon, so it cannot shadow the core, and a broken
  plug-in fails only when it is named;
- a component's settings are its own frozen `Config`; how a project file states them is in `choices`.

This module knows no component, no folder's meaning and no order of verbs.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import json
from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from luban.errors import ConfigError, MissingExtra, UnknownName


class Config(BaseModel):
    """Settings of one component: frozen, typed, unknown keys refused.

    A field that changes how but not what is computed (workers, paths, logging) is declared with
    `execution()`; such fields are left out of result keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def identity(self) -> dict[str, Any]:
        """The JSON form of all fields that decide the result, for result keys and manifests."""
        left_out = {
            name
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("execution")
        }
        plain = self.model_dump(mode="json", exclude=left_out)
        return {name: _identity(getattr(self, name), value) for name, value in plain.items()}

    def at(self, folder: Path) -> Self:
        """The same settings with all files that they refer to found, names seen from `folder`.

        A setting that names files knows their hash afterwards: a key made of `identity` changes with what
        they hold. Raises ConfigError where there are none.
        """
        found = {name: _found_at(getattr(self, name), folder) for name in type(self).model_fields}
        changed = {name: value for name, value in found.items() if value is not getattr(self, name)}
        return self.model_copy(update=changed) if changed else self


def _identity(value: Any, plain: Any) -> Any:
    """What decides the result in a field's value; `plain` is its JSON form, right where it holds no settings."""
    if isinstance(value, (Config, Choice)):
        return value.identity()
    if isinstance(value, (tuple, list)) and isinstance(plain, list):
        return [_identity(one, simple) for one, simple in zip(value, plain, strict=True)]
    return plain


def _found_at(value: Any, folder: Path) -> Any:
    if isinstance(value, Config):
        return value.at(folder)
    if isinstance(value, Choice):
        config = value.config.at(folder)
        return value if config is value.config else Choice(value.kind, config)
    if isinstance(value, tuple):
        found = tuple(_found_at(one, folder) for one in value)
        return value if all(a is b for a, b in zip(found, value, strict=True)) else found
    return value


def execution(default: Any, **settings: Any) -> Any:
    """A config field that does not change the result (workers, paths, logging)."""
    return Field(default, json_schema_extra={"execution": True}, **settings)


def searchable(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    choices: tuple[Any, ...] = (),
    **settings: Any,
) -> Any:
    """A config field that tuning may search: from `low` to `high` (by orders of magnitude where `log`), or
    among `choices`, by default those of its type. What is allowed beyond is in `settings`.
    """
    about: dict[str, Any] = {"low": low, "high": high, "log": log, "choices": list(choices)}
    return Field(default, json_schema_extra={"searchable": about}, **settings)


class Component(ABC):  # noqa: B024 - bases of kinds have the abstract methods
    """Base of whatever a catalog resolves to.

    `kind` is set by the catalog when the class is resolved; `Config` is the class of its
    settings; `extra` names the extra of `pip install "luban[extra]"` that brings its libraries.
    A component holds its config, and nothing else that is not derived from it.
    """

    kind: ClassVar[str] = ""
    extra: ClassVar[str] = ""

    class Config(Config):
        """No settings."""

    def __init__(self, config: BaseModel | None = None) -> None:
        self.config: Any = config if config is not None else self.Config()


T = TypeVar("T", bound=Component)


class Catalog(Generic[T]):
    """One table of kinds.

    `what` is the word for one entry in messages ("gate"), `group` the entry-point group, and
    `package` the module whose `table` attribute maps a name to "module:Class".
    """

    def __init__(self, what: str, package: str, table: str) -> None:
        self.what = what
        self.package = package
        self.table = table
        self.group = f"luban.{table.lower()}"

    def __repr__(self) -> str:
        return f"Catalog({self.what!r}, {self.package}.{self.table})"

    def own(self) -> dict[str, str]:
        """The entries of the core, in the order of their table."""
        return dict(getattr(importlib.import_module(self.package), self.table))

    def plugins(self) -> dict[str, importlib.metadata.EntryPoint]:
        """Entries of installed packages, by name; names without a vendor are left out."""
        found = importlib.metadata.entry_points(group=self.group)
        return {point.name: point for point in found if ":" in point.name}

    def names(self) -> list[str]:
        """All names, the core's first."""
        return [*self.own(), *sorted(self.plugins())]

    def usable(self) -> list[str]:
        """All names but those of plug-ins that cannot be loaded: they fail when they are named, and not before."""
        return [*self.own(), *(name for name in sorted(self.plugins()) if self._loads(name))]

    def _loads(self, name: str) -> bool:
        try:
            self.resolve(name)
        except (ConfigError, MissingExtra):
            return False
        return True

    def resolve(self, name: str) -> type[T]:
        """The class called `name`. Raises UnknownName, or MissingExtra if its import needs one."""
        own = self.own()
        if name in own:
            module, _, attribute = own[name].partition(":")
            loaded = getattr(importlib.import_module(module, self.package), attribute)
        elif ":" in name and name in (plugins := self.plugins()):
            try:
                loaded = plugins[name].load()
            except Exception as error:
                raise ConfigError(
                    f"The {self.what} `{name}` comes from an installed package that fails to load: "
                    f"{type(error).__name__}: {error}",
                    "Mend or remove that package, or name another one.",
                ) from error
        else:
            raise self._unknown(name)
        if loaded.__dict__.get("kind") != name:
            loaded.kind = name
        return cast("type[T]", loaded)

    def make(self, name: str, settings: Mapping[str, Any] | None = None) -> T:
        """An instance of `name`, its settings validated by its own Config."""
        cls = self.resolve(name)
        return cls(cls.Config.model_validate(dict(settings or {})))

    def _unknown(self, name: str) -> UnknownName:
        known = self.names()
        close = nearest(name, known)
        hint = f"Did you mean `{close}`? " if close else ""
        return UnknownName(f"There is no {self.what} `{name}`.", f"{hint}Known: {', '.join(known)}.")


MAX_ALIKE = 100
"""Characters of the longest name that others are compared with: that takes time with the square of it."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where nothing is alike, or it is too long for a name."""
    if len(name) > MAX_ALIKE:
        return None
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def need(module: str, extra: str) -> Any:
    """Import an optional library, or say which extra brings it.

    >>> need("json", "train").dumps([1])
    '[1]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".")[0] == error.name.split(".")[0]:
            raise MissingExtra(
                f"This needs the library `{error.name}`, which is not installed.", f'Run: pip install "luban[{extra}]"'
            ) from error
        raise


@dataclass(frozen=True)
class Choice:
    """A kind that a project file names, with its validated settings."""

    kind: str
    config: Config

    def identity(self) -> dict[str, Any]:
        """JSON form for result keys and manifests."""
        return {"kind": self.kind, **self.config.identity()}


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, as UTF-8: what hashes are taken of.

    Raises ValueError for NaN and infinity, which JSON does not know.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


SOURCES: Catalog[Any] = Catalog("source", "luban.data.sources", "SOURCES")
SINKS: Catalog[Any] = Catalog("sink", "luban.data.sinks", "SINKS")
FEATURES: Catalog[Any] = Catalog("column type", "luban.features", "FEATURES")
TASKS: Catalog[Any] = Catalog("task", "luban.tasks", "TASKS")
RUNTIMES: Catalog[Any] = Catalog("runtime", "luban.bundle.runtimes", "RUNTIMES")
FAMILIES: Catalog[Any] = Catalog("model family", "luban.models", "FAMILIES")
TOWERS: Catalog[Any] = Catalog("tower", "luban.models.neural.towers", "TOWERS")
CONVERTERS: Catalog[Any] = Catalog("converter", "luban.models.converters", "CONVERTERS")
STEPS: Catalog[Any] = Catalog("prepare step", "luban.prepare", "STEPS")
EXPLAINERS: Catalog[Any] = Catalog("explanation method", "luban.explain", "EXPLAINERS")
COMPRESSORS: Catalog[Any] = Catalog("compressor", "luban.compress", "COMPRESSORS")
GATES: Catalog[Any] = Catalog("gate", "luban.release.gates", "GATES")
TARGETS: Catalog[Any] = Catalog("target", "luban.deploy", "TARGETS")
CATALOGS: tuple[Catalog[Any], ...] = (
    SOURCES,
    SINKS,
    FEATURES,
    TASKS,
    RUNTIMES,
    FAMILIES,
    TOWERS,
    CONVERTERS,
    COMPRESSORS,
    STEPS,
    EXPLAINERS,
    GATES,
    TARGETS,
)
