"""`luban init`: write a luban.yaml, from a template or from a look at data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from luban.look.look import Seen
    from luban.look.words import Language


class Languages(StrEnum):
    """What the summary, the comments and later reports are in."""

    EN = "en"
    ZH = "zh"


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(help="Folder for the project; made where it is not there.")] = Path(),
    template: Annotated[
        str, typer.Option("--template", "-t", help="chinese-reviews, breast-cancer or blank.")
    ] = "blank",
    data: Annotated[str | None, typer.Option("--data", help="A file, folder, glob or URL of rows to look at.")] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="The column to predict; without it, the likeliest is looked for.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model.")] = None,
    language: Annotated[
        Languages, typer.Option("--language", help="Of the summary, the comments and later reports: en or zh.")
    ] = Languages.EN,
) -> None:
    """Write a commented luban.yaml that runs; with --data, look at it first and say what is seen."""
    from luban.look.words import PHRASES
    from luban.templates import data_stem, default_name, from_data, from_template, model_name

    words, verb = PHRASES[language.value], "run"
    if data is None:
        path = from_template(folder, template, name, language.value)
    else:
        path, seen = from_data(folder, data, target, name, language.value)
        for line in summary(seen, data, target is not None, language.value):
            typer.echo(line)
        if name is None and model_name(data_stem(data)) != data_stem(data).lower():
            typer.echo(words["called"].format(name=model_name(default_name(folder, data))))
        verb = "run" if seen.target is not None else "prepare"
    where = "" if folder == Path() else f" --project {folder}"
    typer.echo(words["wrote"].format(path=path))
    typer.echo(words["next"].format(verb=verb, where=where))


def summary(seen: Seen, data: str, named: bool, language: Language) -> Iterator[str]:
    """What was seen, line by line. `named`: the user said what the target is."""
    from luban.look.words import PHRASES

    words = PHRASES[language]
    rest = "" if seen.complete else words["rest"]
    yield words["looked"].format(rows=f"{seen.rows:,}", source=data, rest=rest, columns=len(seen.conclusions))
    for finding in seen.findings:
        yield f"  {'!' if finding.level == 'warn' else '-'} {finding.sentence(language)}"
    if not seen.findings:
        yield f"  - {words['nothing']}"
    others = words["comma"].join(f"`{one.name}`" for one in seen.others)
    if seen.target is None:
        yield words["maybe"].format(names=others) if seen.others else f"{words['none']} {words['label']}"
        yield words["until"]
    elif named:
        yield words["chosen"].format(name=seen.target)
    else:
        why = words["comma"].join(reason.sentence(language) for reason in seen.why)
        yield words["target"].format(name=seen.target, why=why)
        if seen.others:
            yield words["others"].format(names=others)
