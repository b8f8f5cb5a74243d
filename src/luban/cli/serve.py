"""`luban serve`: answers over HTTP."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luban.cli.options import AsJson, ProjectPath, Sets, grouped
from luban.errors import ConfigError, plain

if TYPE_CHECKING:
    from luban.serve.config import ServeConfig
    from luban.serve.fleet.fleet import Origins
    from luban.store.home import Home

    Served = tuple[Origins, ServeConfig, Home | None]

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(serve)


@dataclass(frozen=True)
class Listening:
    """Where it listens, by how many processes, and to whom."""

    host: Annotated[str | None, typer.Option(help="Address to listen on; others than loopback need a key.")] = None
    port: Annotated[int | None, typer.Option(help="Port; 0 picks a free one.")] = None
    workers: Annotated[int | None, typer.Option(help="Processes that answer on one socket.", min=1)] = None
    no_key: Annotated[bool, typer.Option("--no-key", help="Answer everybody, although no API key is set.")] = False


@grouped
def serve(
    project: ProjectPath = HERE,
    sets: Sets = None,
    bundle: Annotated[
        list[Path] | None, typer.Option("--bundle", help="A bundle's folder, in place of a project. May be repeated.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="A released model, in place of serve.models. May be repeated.")
    ] = None,
    *,
    listening: Listening,
    as_json: AsJson = False,
) -> None:
    """Serve the project's champion: POST /v1/predict, /health, /ready, /openapi.json, /metrics."""
    # Arrow's own allocator keeps what it took; the system's gives it back when a bundle has been loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

    said = {**vars(listening), "no_key": listening.no_key or None, "models": tuple(model) if model else None}
    changes: dict[str, object] = {name: value for name, value in said.items() if value is not None}
    if bundle and model:
        raise ConfigError("--bundle and --model exclude each other.", "Serve folders, or models of the project.")
    origins, config, home = _folders(bundle, sets or [], changes) if bundle else _released(project, sets, changes)
    _run(origins, config, home, as_json)


def _folders(bundles: list[Path], sets: list[str], changes: dict[str, object]) -> Served:
    """Bundles in folders: no project, no state."""
    from luban.serve.fleet.fleet import Origins
    from luban.serve.fleet.origins import FolderOrigin

    return Origins(tuple(map(FolderOrigin, bundles))), _with(_without_project(sets), changes), None


def _released(project: Path, sets: list[str] | None, changes: dict[str, object]) -> Served:
    """Released models, and the project's state."""
    from luban.cli.options import open_workshop
    from luban.serve.fleet.roster import roster

    shop = open_workshop(project, sets)
    config = _with(shop.project.serve, changes)
    if config.tls is not None:
        config = config.model_copy(update={"tls": config.tls.seen_from(shop.folder)})
    return roster(shop.project.name, config, shop.home), config, shop.home


def _run(origins: Origins, config: ServeConfig, home: Home | None, as_json: bool) -> None:
    """Serve until told to stop: in this process, as one of several workers, or as their supervisor."""
    from luban.cli.said import emit
    from luban.serve.processes.worker import Worker
    from luban.serve.server import serve as run_server
    from luban.serve.server import serve_by_workers

    def ready(address: str) -> None:
        if as_json:
            emit({"event": "ready", "address": address})
        else:
            typer.echo(f"Serving at {address}  (Ctrl-C ends)")

    worker = Worker.of(os.environ)
    if worker is not None:
        run_server(origins, config, lambda address: worker.ready(), home=home, worker=worker)
    elif config.workers > 1:
        serve_by_workers([sys.executable, "-m", "luban", *sys.argv[1:]], config, ready, home=home)
    else:
        run_server(origins, config, ready, home=home)


def _without_project(sets: list[str]) -> ServeConfig:
    """The server's settings for bundles in folders. All settings of projects are read only where there are some:
    a server that starts with defaults needs neither their time nor their memory.
    """
    from luban.serve.config import ServeConfig

    if not sets and not any(name.startswith("LUBAN__") for name in os.environ):
        return ServeConfig()
    from luban.project import server_settings

    return server_settings(sets)


def _with(config: ServeConfig, said: dict[str, object]) -> ServeConfig:
    from pydantic import ValidationError

    from luban.serve.config import ServeConfig

    try:
        return ServeConfig.model_validate({**config.model_dump(), **said})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"--{first['loc'][0]}: {plain(first['type'], first['msg'])}, but got {first['input']!r}."
        ) from None
