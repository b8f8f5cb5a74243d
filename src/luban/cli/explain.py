"""`luban explain`: why a bundle answers rows as it does. Without rows: those that the bundle carries as examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from luban.cli.options import AsJson, ProjectPath, grouped
from luban.errors import ConfigError, plain

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

HERE = Path()
ROWS, ROWS_OF_MODEL, ROWS_OF_POOL = 5, 1000, 500


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(explain)


@dataclass(frozen=True)
class GivenRows:
    """The rows to explain; none: those that the bundle carries."""

    rows: Annotated[str | None, typer.Option("--rows", help="File, folder, glob or URL of rows.")] = None
    row: Annotated[list[str] | None, typer.Option("--row", help="One row as JSON. May be repeated.")] = None
    num_rows: Annotated[
        int | None, typer.Option("--num-rows", help="Rows of the file that are looked at: 5, of the model 1000.", min=1)
    ] = None


@dataclass(frozen=True)
class How:
    """The method, and what it is asked."""

    method: Annotated[str, typer.Option("--method", help="How: see the table of methods.")] = "shapley"
    asked: Annotated[str | None, typer.Option("--class", help="Class to explain; else the predicted one.")] = None
    options: Annotated[
        list[str] | None, typer.Option("--option", help="Setting of the method: --option coalitions=4096.")
    ] = None
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="Folder that training left, for methods that need gradients.")
    ] = None


@dataclass(frozen=True)
class Shown:
    """How what was found is shown."""

    html: Annotated[Path | None, typer.Option("--html", help="Write a page with marked texts.")] = None
    language: Annotated[Literal["en", "zh"] | None, typer.Option("--language", help="Language of what is shown.")] = (
        None
    )
    as_json: AsJson = False


@grouped
def explain(
    bundle: Annotated[Path | None, typer.Argument(help="A bundle's folder, in place of a project.")] = None,
    project: ProjectPath = HERE,
    model: Annotated[str, typer.Option("--model", help="Version or alias of the project's model.")] = "champion",
    *,
    given: GivenRows,
    how: How,
    shown: Shown,
) -> None:
    """Say why a model answers as it does: which words, numbers and columns speak for it or against it."""
    from luban.catalog import EXPLAINERS
    from luban.cli.predict import load_bundle
    from luban.explain import explain as explained

    loaded = load_bundle(project, model, bundle)
    settings = _checked(how.method, _settings(how.options or []))
    most = given.num_rows or (ROWS if EXPLAINERS.resolve(how.method).explains == "row" else ROWS_OF_MODEL)
    rows, others = _rows(loaded, given.rows, given.row or [], most)
    found = explained(
        loaded, rows, how.method, asked=how.asked, settings=settings, checkpoint=how.checkpoint, others=others
    )
    words = shown.language or _language(project, bundle)
    if shown.html is not None:
        from luban.explain.page import page

        shown.html.write_text(page(found, loaded.manifest.name, words), "utf-8")
        typer.echo(f"wrote {shown.html}", err=True)
    if shown.as_json:
        from luban.cli.said import emit

        for finding in found:
            emit(finding.to_json())
    elif shown.html is None:
        from luban.explain.terminal import render

        render(found, words)


def _rows(bundle: Bundle, path: str | None, given: list[str], most: int) -> tuple[Any, Any]:
    """The rows to explain, as dictionaries or an Arrow table, and values of known rows by column, if there are any."""
    if path is not None and given:
        raise ConfigError("--rows and --row cannot both be given.", "Leave one out.")
    if path is not None:
        table = read_rows(path, max(most, ROWS_OF_POOL))
        return table.slice(0, most), bundle.values(table.slice(0, ROWS_OF_POOL)).columns
    if given:
        return [_row(text) for text in given], None
    found = bundle.example_rows()
    if not found:
        raise ConfigError("There are no rows to explain.", "Name a file with --rows, or give one with --row.")
    return found[:most], None


def _row(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--row must be a JSON object, but `{text}`: {error}.") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--row must be a JSON object, but got `{text}`.", 'Write it as \'{"column": "value"}\'.')
    return found


def read_rows(path: str, most: int) -> Any:
    """The first rows of a file, as an Arrow table."""
    import pyarrow as pa

    from luban.data.sources import open_path

    batches, count = [], 0
    for batch in open_path(path).read():
        batches.append(batch.rows.slice(0, most - count))
        count += batches[-1].num_rows
        if count >= most:
            break
    if not count:
        raise ConfigError(f"`{path}` has no rows.", "Name another file.")
    return pa.Table.from_batches(batches)


def _settings(given: list[str]) -> dict[str, object]:
    import yaml

    pairs = [item.partition("=") for item in given]
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def _checked(method: str, settings: dict[str, object]) -> dict[str, object]:
    """The settings, if the method has such. Raises ConfigError naming the field."""
    from pydantic import ValidationError

    from luban.catalog import EXPLAINERS

    config = EXPLAINERS.resolve(method).Config
    try:
        config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        known = ", ".join(config.model_fields) or "none"
        raise ConfigError(
            f"--option `{field}`: {plain(first['type'], first['msg'])}.", f"Settings of this method: {known}."
        ) from None
    return settings


def _language(project: Path, bundle: Path | None) -> Literal["en", "zh"]:
    """That of the project, where one was opened."""
    if bundle is not None:
        return "en"
    from luban.project import load_project

    return load_project(project)[0].language
