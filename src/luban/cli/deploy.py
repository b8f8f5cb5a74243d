"""`luban deploy TARGET`: files that take the model to where it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from luban.cli.options import AsJson, ProjectPath, Sets, grouped

if TYPE_CHECKING:
    from luban.deploy.base import Deployment, Target
    from luban.deploy.sizing import SizingConfig
    from luban.deploy.write import Written
    from luban.workshop import Workshop

HERE = Path()
ANY = "TARGET"


class Targets(TyperGroup):
    """A first word that is no command of this group is the name of a target."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant, and its arguments."""
        if args[0] not in self.commands or args[0] == ANY:
            return ANY, self.commands[ANY], args
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """List the targets below the commands."""
        from luban.catalog import TARGETS

        with formatter.section("Targets"):
            formatter.write_dl(
                [(name, (TARGETS.resolve(name).__doc__ or "").split("\n")[0]) for name in TARGETS.names()]
            )


app = typer.Typer(
    cls=Targets,
    help="Write what a deployment needs: files for one target, from luban.yaml.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(ANY)
def write_target(
    target: Annotated[str, typer.Argument(help="What to write for; `luban deploy --help` lists them.")],
    project: ProjectPath = HERE,
    sets: Sets = None,
    to: Annotated[
        Path | None,
        typer.Option("--to", help="Folder for the files; by default `deploy.to`, and the target's name in it."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="A bundle's folder, in place of the project's champion.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write over what was changed by hand; it is kept beside as NAME.before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the files of one target; nothing is started and nothing is sent anywhere."""
    from tempfile import TemporaryDirectory

    from luban.bundle.write import without
    from luban.catalog import TARGETS
    from luban.cli.options import open_workshop
    from luban.deploy.write import write
    from luban.release.reports import ROW_REPORTS

    cls = TARGETS.resolve(target)
    shop = open_workshop(project, sets)
    made: Target = cls(shop.project.deploy.settings_of(target))
    plan, folder = _plan(shop, made, project, bundle)
    files = made.files(plan)
    at = to if to is not None else shop.folder / shop.project.deploy.to / target
    with TemporaryDirectory() as beside:
        carried = None
        if folder is not None:
            # Pages that show rows of the data stay here: what is deployed is copied to more places than the data.
            carried = Path(beside) / "bundle"
            without(folder, carried, ROW_REPORTS)
        done = write(at, files, carried, force)
    _say(done, made.next_steps(plan), _notes(shop, made, plan, bundle is None), as_json)


_IN_THE_LEDGER = ("models", "records", "review", "jobs", "traffic")
"""Sections of `serve` that servers without a ledger cannot follow."""


def _notes(shop: Workshop, target: Target, plan: Deployment, has_ledger: bool) -> list[str]:
    """What whoever deploys this would not expect: the target's notes, and what servers without a ledger lose."""
    from luban.deploy.needs import is_set
    from luban.serve.guards.keyring import Keyring

    found = list(target.notes(plan))
    if plan.config.model_from == "project" or not target.names_bundle:
        return found
    lost = [f"`serve.{name}`" for name in _IN_THE_LEDGER if is_set(plan.serve, name)]
    if has_ledger and Keyring(shop.home.ledger).records():
        lost.insert(0, "the keys of `luban keys`")
    if not lost:
        return found
    return [
        *found,
        f"These servers have no ledger: {', '.join(lost)} will have no effect there, and LUBAN_API_KEY is the only "
        "key. To have them: `deploy.model_from: project`.",
    ]


def _plan(shop: Workshop, target: Target, project: Path, bundle: Path | None) -> tuple[Deployment, Path | None]:
    """What the target is told, and the bundle's folder if it is to be carried along."""
    from dataclasses import replace

    from luban.bundle.bundle import Bundle
    from luban.deploy.facts import of_project
    from luban.project import FILE

    file = project / FILE if project.is_dir() else project
    text = file.read_text("utf-8")
    plan = of_project(shop.project, text)
    if not target.carries_bundle(plan) and (plan.config.model_from == "project" or not target.names_bundle):
        if bundle is None and shop.registry.find(shop.project.name, shop.project.serve.alias) is not None:
            bundle = _champion(shop)
        return (plan if bundle is None else of_project(shop.project, text, Bundle.load(bundle))), None
    bundle = bundle if bundle is not None else _champion(shop)
    loaded = Bundle.load(bundle)
    plan = replace(of_project(shop.project, text, loaded), identity=loaded.identity)
    return plan, bundle if target.carries_bundle(plan) else None


def _champion(shop: Workshop) -> Path:
    """The folder of the bundle that the project serves."""
    version = shop.registry.resolve(shop.project.name, shop.project.serve.alias)
    return shop.home.store.fetch(version.tree)


@dataclass(frozen=True)
class Expected:
    """The load, what it must keep, and prices; what is left out is as `deploy.plan` has it."""

    rps: Annotated[float | None, typer.Option(help="Requests a second at the busiest time.")] = None
    p95_ms: Annotated[float | None, typer.Option(help="Time within which 95 of 100 are answered.")] = None
    trial_s: Annotated[float | None, typer.Option(help="Seconds that each rate is tried for.")] = None
    core_hour: Annotated[float | None, typer.Option(help="Price of one core for an hour.")] = None
    gib_hour: Annotated[float | None, typer.Option(help="Price of one GiB of memory for an hour.")] = None


@app.command()
@grouped
def plan(
    expected: Expected,
    project: ProjectPath = HERE,
    sets: Sets = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="A bundle's folder, in place of the project's champion.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the bundle on this machine, and say how many servers a load needs and what they cost."""
    from luban.bundle.bundle import Bundle
    from luban.cli.options import open_workshop
    from luban.cli.said import emit
    from luban.deploy.capacity import capacity
    from luban.deploy.sizing import described, size

    shop = open_workshop(project, sets)
    folder = bundle if bundle is not None else _champion(shop)
    settings = shop.project.deploy.plan.model_dump() | {
        name: value for name, value in vars(expected).items() if value is not None
    }
    config = _sized(settings)
    if not as_json:
        typer.echo("Measuring one process on one core of this machine …")
    measured = capacity(folder, Bundle.load(folder).example_rows(), config.p95_ms, config.trial_s)
    jobs, follows = shop.project.serve.jobs, shop.project.deploy.model_from == "project"
    sizing = size(config, measured, jobs.workers if jobs.enabled and follows else 0)
    if as_json:
        emit({"asked": config.model_dump(), "measured": measured.to_json(), "plan": sizing.to_json()})
    else:
        for line in described(config, measured, sizing):
            typer.echo(line)


def _sized(settings: dict[str, Any]) -> SizingConfig:
    from pydantic import ValidationError

    from luban.deploy.sizing import SizingConfig
    from luban.errors import ConfigError, plain

    try:
        return SizingConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{name}: {plain(first['type'], first['msg'])}, but got {first['input']!r}.") from None


def _say(done: Written, steps: Any, notes: list[str], as_json: bool) -> None:
    from luban.cli.said import emit

    if as_json:
        emit({
            "folder": str(done.folder), "written": list(done.written), "kept": list(done.kept),
            "removed": list(done.removed), "next": list(steps), "notes": notes,
        })  # fmt: skip
        return
    for path in done.written:
        typer.echo(f"wrote {done.folder / path}")
    for path in done.removed:
        typer.echo(f"removed {done.folder / path}: no longer needed")
    if not done.written:
        typer.echo(f"All {len(done.kept)} in {done.folder} are as they should be.")
    typer.echo("\nNext, in that folder:")
    for step in steps:
        typer.echo(f"  {step}")
    for note in notes:
        typer.echo(f"\nnote: {note}", err=True)
