"""`luban init`: write a luban.yaml, from a template or from a file of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder for the project; made where it is not there.")] = Path(),
    template: Annotated[
        str, typer.Option("--template", "-t", help="chinese-reviews, breast-cancer or blank.")
    ] = "blank",
    data: Annotated[str | None, typer.Option("--data", help="A file, folder, glob or URL of rows to look at.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="The column to predict.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model.")] = None,
) -> None:
    """Write a commented luban.yaml that runs."""
    from luban.templates import from_data, from_template

    if data is not None:
        path, notes = from_data(folder, data, target, name)
    else:
        path, notes = from_template(folder, template, name), []
    for note in notes:
        typer.echo(f"note: {note}", err=True)
    where = "" if folder == Path() else f" --project {folder}"
    typer.echo(f"Wrote {path}\nNext: look at it, then `luban run{where}`")
