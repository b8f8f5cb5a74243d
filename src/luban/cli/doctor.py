"""`luban doctor`: what this machine has, lacks and would use, and what a project needs of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luban.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from luban.doctor.finding import Finding

MARKS = {"ok": "✓", "warn": "!", "missing": "✗"}
STYLES = {"ok": "green", "warn": "yellow", "missing": "red"}


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command()(doctor)


def doctor(
    project: Annotated[
        Path | None, typer.Option("--project", "-p", help="Also look at what this project needs: luban.yaml or folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What this machine has, lacks and would use. Changes nothing, asks no network."""
    from luban.doctor.examine import examine
    from luban.doctor.finding import as_json as findings_as_json
    from luban.doctor.finding import lacking

    findings = examine(project)
    if as_json:
        from luban.cli.said import emit

        emit(findings_as_json(findings))
    else:
        _show(findings)
    if lacking(findings):
        raise typer.Exit(1)


def _show(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True)
    area = ""
    width = max(len(one.name) for one in findings)
    for one in findings:
        if one.area != area:
            console.print(Text(one.area, style="bold"))
            area = one.area
        mark = (f"  {MARKS[one.status]} {one.name:<{width}}  ", STYLES[one.status])
        console.print(Text.assemble(mark, one.text), highlight=False)
        if one.mend and one.status != "ok":
            console.print(Text(f"    {'':<{width}}  do: {one.mend}", style="cyan"), highlight=False)
