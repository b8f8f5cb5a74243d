"""`luban reviews`: rows that a person should look at, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luban.cli.options import AsJson, ProjectPath, open_workshop

if TYPE_CHECKING:
    from luban.serve.learning.review_queue import Review, ReviewQueue
    from luban.workshop import Workshop

app = typer.Typer(
    help="Rows that a person should look at: list, show, take, decide, drop, export.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
HERE = Path()
Id = Annotated[str, typer.Argument(help="A row's id: REQUEST_ID:POSITION.")]
To = Annotated[str, typer.Option("--to", help="File to write: .csv, .tsv, .xlsx, .parquet, .jsonl.")]


@app.command("list")
def list_reviews(
    project: ProjectPath = HERE,
    status: Annotated[str, typer.Option("--status", help="open, taken, done, told (by feedback) or dropped.")] = "open",
    limit: Annotated[int, typer.Option("--limit", help="Most rows.", min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Rows of one status, the oldest first."""
    from luban.cli.said import emit
    from luban.cli.show import table
    from luban.errors import ConfigError
    from luban.serve.learning.review_rows import STATUSES

    if status not in STATUSES:
        raise ConfigError(f"--status must be one of {', '.join(STATUSES)}, but got {status}.")
    shop = open_workshop(project, None)
    queue = _queue(shop)
    found, counts = queue.listed(shop.project.name, status, limit), queue.counts(shop.project.name)
    if as_json:
        emit({"model": shop.project.name, "counts": counts, "reviews": [one.to_json() for one in found]})
        return
    if found:
        table([_line(one) for one in found])
    typer.echo(", ".join(f"{count:,} {name}" for name, count in counts.items()))


@app.command()
def show(id: Id, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """One row with its answer."""
    _tell(_queue(open_workshop(project, None)).get(id), as_json)


@app.command()
def take(
    id: Annotated[str | None, typer.Argument(help="A row's id; left out, the oldest open ones.")] = None,
    count: Annotated[int, typer.Option("--count", help="How many, where no id is given.", min=1, max=100)] = 1,
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """Have rows for a while, so that nobody else decides them."""
    shop = open_workshop(project, None)
    queue, who = _queue(shop), shop.actor.name
    found = queue.take_next(shop.project.name, who, count) if id is None else [queue.take(id, who)]
    for one in found:
        _tell(one, as_json)
    if not found and not as_json:
        typer.echo("No row waits.")


@app.command()
def decide(
    id: Id,
    truth: Annotated[str, typer.Argument(help="What is true, as the target's column has it.")],
    project: ProjectPath = HERE,
    as_json: AsJson = False,
) -> None:
    """Say what is true. It becomes feedback, and can be trained on."""
    from luban.cli.predict import load_bundle
    from luban.errors import BadValue, ConfigError
    from luban.serve.learning.judges import read_truth, strange
    from luban.tasks.base import Tolerance

    shop = open_workshop(project, None)
    bundle = load_bundle(project, "champion", None)
    try:
        value = read_truth(bundle.manifest, truth)
    except BadValue as error:
        raise ConfigError(f"The truth `{truth}` cannot be read: {error.message}.") from None
    note = strange(bundle.manifest, value)
    if note:
        typer.echo(f"note: {note}.", err=True)
    review = shop.project.serve.review
    tolerance = Tolerance(review.within, review.within_share)
    judge = lambda model, answer, true: bundle.task.judge(answer, true, tolerance)  # noqa: E731
    _tell(_queue(shop).decide(id, value, shop.actor.name, judge), as_json)


@app.command()
def drop(id: Id, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Say that nothing is to be learnt from a row."""
    shop = open_workshop(project, None)
    _tell(_queue(shop).drop(id, shop.actor.name), as_json)


@app.command()
def export(to: To, project: ProjectPath = HERE, as_json: AsJson = False) -> None:
    """Write the rows that were decided, with their truth, as the project's source has them."""
    write_lessons(to, project, as_json, only_reviewed=True)


def write_lessons(to: str, project: Path, as_json: bool, only_reviewed: bool) -> None:
    """Write rows with their truth, and say how many."""
    from luban.cli.predict import load_bundle
    from luban.cli.said import emit
    from luban.serve.learning.lessons import export as exported

    shop = open_workshop(project, None)
    bundle = load_bundle(project, "champion", None)
    found = exported(shop.home.ledger, bundle, shop.project.name, to, shop.actor, _shape(shop, bundle), only_reviewed)
    if as_json:
        emit({"event": "exported", "rows": found.num_rows, "without_row": found.num_without_row, "to": to})
        return
    typer.echo(f"{found.num_rows:,} rows with their truth are in {to}.", err=True)
    if found.num_without_row:
        typer.echo(f"note: {found.num_without_row:,} truths have no row; see `serve.records.rows`.", err=True)


def _shape(shop: Workshop, bundle: Any) -> Any:
    """Columns and types of the project's source; where it cannot be read here and now, those of the bundle."""
    from luban.catalog import SOURCES
    from luban.errors import LubanError
    from luban.serve.learning.lessons import shape_of

    choice = shop.project.data.source
    source = SOURCES.resolve(choice.kind)(choice.config).at(shop.folder)
    if source.fetches() is None:
        try:
            first = next(source.read(1), None)
        except LubanError as error:
            typer.echo(f"note: the source cannot be read ({error.message}); its columns are guessed.", err=True)
            first = None
        if first is not None:
            return first.rows.schema
    return shape_of(bundle)


def _queue(shop: Workshop) -> ReviewQueue:
    from luban.serve.learning.review_queue import ReviewQueue

    return ReviewQueue(shop.home.ledger, shop.project.serve.review.lease_s)


def _line(one: Review) -> dict[str, Any]:
    first = _said(next(iter(one.answer.values()), ""))
    row = " | ".join(str(value) for value in one.row.values())
    sure = "" if one.confidence is None else f"{one.confidence:.2f}"
    who = one.decided_by or one.taken_by or ""
    shown = row if len(row) <= 60 else row[:59] + "…"
    return {
        "id": one.id,
        "answer": first,
        "sure": sure,
        "because": ", ".join(one.reasons),
        "who": who,
        "row": shown,
    }


def _tell(one: Review, as_json: bool) -> None:
    from luban.cli.said import emit

    if as_json:
        emit(one.to_json())
        return
    typer.echo(f"{one.id}: {one.status}, because of {', '.join(one.reasons)}")
    for name, value in one.row.items():
        typer.echo(f"  {name}: {value}")
    answer = ", ".join(f"{name} {_said(value)}" for name, value in one.answer.items())
    typer.echo(f"  answer: {answer}")
    if one.truth is not None:
        typer.echo(f"  truth: {one.truth}, by {one.decided_by}")


def _said(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
