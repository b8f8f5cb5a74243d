"""Options that several commands share, groups of options, and how a project is opened from them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

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


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command some of whose parameters are dataclasses: to the shell each of their fields is an option.

    So a command whose options are many takes a few things, each of which means something as a whole.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(command).parameters.values():
        fields = dataclasses.fields(groups[one.name]) if one.name in groups else ()
        own = get_type_hints(groups[one.name], include_extras=True) if fields else {}
        parameters += [
            inspect.Parameter(field.name, one.KEYWORD_ONLY, default=field.default, annotation=own[field.name])
            for field in fields
        ] or [one.replace(kind=one.KEYWORD_ONLY, annotation=hints[one.name])]

    def called(**given: object) -> None:
        for name, group in groups.items():
            names = {field.name for field in dataclasses.fields(group)}
            given[name] = group(**{one: given.pop(one) for one in names & given.keys()})
        command(**given)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {}
    return called


def open_workshop(project: Path, sets: list[str] | None, watch: Watch | None = None) -> Workshop:
    """The workshop of the project at `project` with `--set` overrides applied."""
    from luban.project import load_project
    from luban.workshop import Workshop

    loaded, folder = load_project(project, sets or ())
    return Workshop.open(loaded, folder, watch)
