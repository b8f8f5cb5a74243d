"""`luban jobs`: files that a server answers in the background, seen from the project's ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luban.cli.options import AsJson, ProjectPath, open_workshop
from luban.errors import ConfigError

if TYPE_CHECKING:
    from luban.engine.jobs import Job, JobQueue

app = typer.Typer(
    help="Files answered in the background: list, show, cancel, retry.", no_args_is_help=True, rich_markup_mode=None
)
HERE = Path()
Id = Annotated[str, typer.Argument(help="A job's id, or as much of its beginning as only one has.")]


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="waiting, running, done, failed or cancelled.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """The newest jobs, newest first."""
    from typing import get_args

    from luban.cli.said import emit
    from luban.cli.show import table
    from luban.engine.jobs import Status

    if status is not None and status not in get_args(Status):
        raise ConfigError(f"--status must be one of {', '.join(get_args(Status))}, but got {status}.")
    found = _queue(project).newest(None, status, limit)  # type: ignore[arg-type]
    if as_json:
        emit({"jobs": [_whole(job) for job in found]})
    elif not found:
        typer.echo("No job was handed in yet. See `POST /v1/jobs` of `luban serve`.")
    else:
        table([_row(job) for job in found])


@app.command()
def show(job: Id, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """A job with all that is known of it."""
    _said(_find(_queue(project), job), as_json)


@app.command()
def cancel(job: Id, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Stop a job; one that has ended stays as it is."""
    queue = _queue(project)
    _said(queue.cancel(_find(queue, job).id, _actor()), as_json)


@app.command()
def retry(job: Id, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Let a job that failed or was cancelled wait again."""
    queue = _queue(project)
    found = _find(queue, job)
    if found.status not in ("failed", "cancelled"):
        raise ConfigError(f"The job is {found.status}.", "Only one that failed or was cancelled is tried again.")
    _said(queue.retry(found.id, _actor()), as_json)


def _actor() -> str:
    from luban.policy.rules import Actor

    return Actor.current().name


def _queue(project: Path) -> JobQueue:
    from luban.engine.jobs import JobQueue

    return JobQueue(open_workshop(project, None).home.ledger)


def _find(queue: JobQueue, start: str) -> Job:
    """Raises ConfigError where no job, or more than one, begins so."""
    whole = queue.get(start)
    if whole is not None:
        return whole
    found = [job for job in queue.newest(limit=1000) if start and job.id.startswith(start)]
    if len(found) != 1:
        what = "no job" if not found else f"{len(found)} jobs"
        raise ConfigError(f"`{start}` is the beginning of {what}.", "See `luban jobs list`.")
    return found[0]


def _row(job: Job) -> dict[str, Any]:
    return {
        "job": job.id[:12],
        "model": job.model,
        "status": job.status,
        "done": f"{job.progress:.0%}",
        "rows": job.counts.get("rows", 0),
        "errors": job.counts.get("errors", 0),
        "created": job.created[:19],
        "why": (job.error or "").split("\n")[0],
    }


def _whole(job: Job) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(job)


def _said(job: Job | None, as_json: bool) -> None:
    from luban.cli.said import emit

    assert job is not None, "it was found just now"
    if as_json:
        emit(_whole(job))
        return
    for name, value in {**_row(job), "job": job.id, "attempts": f"{job.attempts} of {job.max_attempts}"}.items():
        typer.echo(f"{name:<9} {value}")
