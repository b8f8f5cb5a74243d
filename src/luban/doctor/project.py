"""What a project needs: that its source can be read, and the extras that its components ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from luban.catalog import CATALOGS, SOURCES, Choice, Component, Config
from luban.doctor.finding import Finding
from luban.doctor.installed import has_program, of_extra
from luban.errors import ConfigError, LubanError
from luban.project import Project, load_project

AREA = "project"
_PROGRAMS = {"pypi": ("pip",), "npm": ("npm",), "debian": ("apt-get", "dpkg-deb")}


def project(path: Path) -> tuple[Project | None, list[Finding]]:
    """The project at `path` and what it needs; None where its file cannot be read, which then is the finding."""
    try:
        found, folder = load_project(path)
    except ConfigError as error:
        return None, [Finding(AREA, "luban.yaml", "missing", error.message, error.hint, needed=True)]
    state = [Finding(AREA, "luban.yaml", "ok", f"`{found.name}` in {folder}", needed=True)]
    return found, [*state, *_source(found, folder), *_extras(found)]


def _source(found: Project, folder: Path) -> Iterator[Finding]:
    choice = found.data.source
    source = SOURCES.resolve(choice.kind)(choice.config).at(folder)
    if (what := source.fetches()) is not None:
        index = getattr(choice.config, "index", None)
        lacking = [name for name in _PROGRAMS.get(str(index), ()) if not has_program(name)]
        if lacking:
            text = f"{what} is not here yet, and fetching it needs {', '.join(lacking)}"
            yield Finding(AREA, "source", "missing", text, f"Install {', '.join(lacking)}.", needed=True)
        else:
            yield Finding(AREA, "source", "warn", f"{what} is not here yet; it is not looked at", "luban prepare", True)
        return
    try:
        batch = next(source.read(), None)
    except LubanError as error:
        yield Finding(AREA, "source", "missing", error.message, error.hint, needed=True)
        return
    names = [] if batch is None else batch.rows.schema.names
    target = found.data.target
    if target is not None and target not in names:
        text = f"it has no column `{target}`, the target; its columns: {', '.join(names)}"
        yield Finding(AREA, "source", "missing", text, "Name another in `data.target`.", needed=True)
        return
    yield Finding(AREA, "source", "ok", f"can be read; {len(names)} columns", needed=True)
    if target is None:
        text = "none is named: data can be prepared, and not learnt from"
        yield Finding(AREA, "target", "warn", text, "Name a column in `data.target`.")


def _extras(found: Project) -> Iterator[Finding]:
    """Every extra that some component of the project asks for. Figures of classes take `train` in any case."""
    extras = {"train", *(component.extra for component in components(found))}
    if found.tune is not None and found.tune.sampler != "grid":
        extras.add("tune")
    if os.environ.get("LUBAN_LEDGER", "").startswith("postgres"):
        extras.add("postgres")
    if found.serve.auth.oidc is not None:
        extras.add("oidc")
    if found.serve.limits.redis is not None:
        extras.add("redis")
    for extra in sorted(extras - {""}):
        yield of_extra(extra, AREA, needed=True)


def components(value: Any) -> Iterator[type[Component]]:
    """Every component that settings name, those inside others too: a tower of a family, a converter."""
    if isinstance(value, Choice):
        for catalog in CATALOGS:
            if value.kind in catalog.names() and catalog.resolve(value.kind).Config is type(value.config):
                yield catalog.resolve(value.kind)
        value = value.config
    if isinstance(value, Config):
        value = [getattr(value, name) for name in type(value).model_fields]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from components(one)
