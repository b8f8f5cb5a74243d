"""Options that several commands share, and how a project is opened from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from luban.workshop import Watch, Workshop

ProjectPath = Annotated[Path, typer.Option("--project", "-p", help="luban.yaml, or the folder that holds it.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: --set train.time_budget_s=30. May be repeated.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output, one object a line.")]
WaitS = Annotated[float, typer.Option("--wait-s", help="Seconds to wait while another run holds the project.", min=0)]
Force = Annotated[str | None, typer.Option("--force", help="Release in spite of a failed gate; give the reason.")]
Decisions = Annotated[
    Path | None, typer.Option("--decisions", help="Replay the decisions of another run (its decisions.json).")
]


def open_workshop(project: Path, sets: list[str] | None, watch: Watch | None = None) -> Workshop:
    """The workshop of the project at `project` with `--set` overrides applied."""
    from luban.project import load_project
    from luban.workshop import Workshop

    loaded, folder = load_project(project, sets or ())
    return Workshop.open(loaded, folder, watch)
