"""`luban predict`: answers for a file, one row in, one row out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luban.cli.options import AsJson, ProjectPath
from luban.errors import ConfigError, plain

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(predict)


def predict(
    source: Annotated[str, typer.Argument(help="File, folder, glob or URL; - is standard input.")],
    output: Annotated[str, typer.Argument(help=".csv, .tsv, .xlsx, .parquet, .jsonl; - is standard output.")] = "-",
    project: ProjectPath = HERE,
    model: Annotated[str, typer.Option("--model", help="Version or alias of the project's model.")] = "champion",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="A bundle's folder, in place of a project.")] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", help="Option of the task: --option threshold=0.8. May be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer every row of a file: the input's columns, then the answer's, then `error`."""
    from luban.cli.said import emit
    from luban.data.sinks import open_sink
    from luban.data.sources import open_path
    from luban.serve.jobs.batch import predict_file

    loaded = load_bundle(project, model, bundle)
    with _progress(as_json or output == "-") as progress:
        counts = predict_file(
            loaded, open_path(source), open_sink(output), output, _options(loaded, options or []), progress=progress
        )
    if as_json and output != "-":
        emit({"event": "done", "rows": counts.num_rows, "errors": counts.num_errors, "output": output})
    else:
        typer.echo(f"{counts.num_rows:,} rows answered, {counts.num_errors:,} of them with an error.", err=True)
    for name in counts.missing:
        typer.echo(f"note: the file has no column `{name}`; it counted as missing.", err=True)


def load_bundle(project: Path, model: str, folder: Path | None) -> Bundle:
    """The bundle in `folder`, or the project's released version or alias `model`."""
    from luban.bundle.bundle import Bundle
    from luban.cli.options import open_workshop

    if folder is not None:
        return Bundle.load(folder)
    shop = open_workshop(project, None)
    return Bundle.load(shop.home.store.fetch(shop.registry.resolve(shop.project.name, model).tree))


def _options(bundle: Bundle, given: list[str]) -> Any:
    import yaml
    from pydantic import ValidationError

    pairs = [item.partition("=") for item in given]
    try:
        return bundle.task.Options.model_validate({name: yaml.safe_load(value) for name, _, value in pairs})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(bundle.task.Options.model_fields) or "none"
        raise ConfigError(
            f"--option `{field}`: {plain(first['type'], first['msg'])}.", f"Options of this task: {known}."
        ) from None


class _progress:  # noqa: N801
    """Shows rows answered so far on a terminal; nothing elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._status: Any = None

    def __enter__(self) -> Any:
        import sys

        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("reading …")
            self._status.start()
        return self._say

    def _say(self, counts: Any) -> None:
        if self._status is not None:
            self._status.update(f"{counts.num_rows:,} rows answered")

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()
