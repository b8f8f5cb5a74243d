"""`luban feedback`: what became of answers, in the terminal and as rows to train on."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from luban.cli.options import AsJson, ProjectPath, open_workshop
from luban.cli.reviews import To, write_lessons

app = typer.Typer(help="What became of answers: show, export.", no_args_is_help=True, rich_markup_mode=None)
HERE = Path()
DAY_S = 86_400.0


@app.command()
def show(
    project: ProjectPath = HERE,
    days: Annotated[float, typer.Option("--days", help="Answers of so many days before now.", min=0)] = 7.0,
    as_json: AsJson = False,
) -> None:
    """How many answers each version gave, how many truths are known, what share was right, and how sure it was."""
    from luban.cli.said import emit
    from luban.cli.show import table
    from luban.serve.learning.outcomes import Outcomes

    shop = open_workshop(project, None)
    found = Outcomes(shop.home.ledger).known(shop.project.name, time.time() - days * DAY_S)
    if as_json:
        emit({"model": shop.project.name, "days": days, "known": [asdict(one) for one in found]})
    elif not found:
        typer.echo(f"No answer of {shop.project.name} is recorded in the last {days:g} days.")
    else:
        table(
            [
                {
                    "version": one.version,
                    "arm": one.arm,
                    "answers": f"{one.answers:,}",
                    "truths": f"{one.truths:,}",
                    "right": "" if one.correct is None else f"{one.correct:.3f}",
                    "sure": "" if one.confidence is None else f"{one.confidence:.3f}",
                    "error": "" if one.error is None else f"{one.error:.4g}",
                }
                for one in found
            ]
        )


@app.command()
def export(to: To, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Write the rows whose truth is known as the project's source has them; rows that were decided are among them."""
    write_lessons(to, project, as_json, only_reviewed=False)
