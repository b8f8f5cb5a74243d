"""`luban run` and its verbs one by one: prepare, train, compress, evaluate, release."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luban.cli.options import AsJson, Decisions, Force, ProjectPath, Sets, WaitS, open_workshop
from luban.errors import ConfigError

if TYPE_CHECKING:
    from luban.workshop import Workshop

HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(run)
    app.command()(prepare)
    app.command()(train)
    app.command()(compress)
    app.command()(evaluate)
    app.command()(release)


def run(
    project: ProjectPath = HERE,
    sets: Sets = None,
    as_json: AsJson = False,
    wait_s: WaitS = 0.0,
    force: Force = None,
    decisions: Decisions = None,
) -> None:
    """The whole line: prepare, train, compress, evaluate, release. What is done already is kept."""
    from luban import lifecycle

    _work(project, sets, as_json, wait_s, decisions, lambda shop: _shown(shop, lifecycle.run(shop, force), as_json))


def prepare(project: ProjectPath = HERE, sets: Sets = None, as_json: AsJson = False, wait_s: WaitS = 0.0) -> None:
    """Raw rows to an immutable dataset with a split."""
    from luban import lifecycle
    from luban.cli.show import show_dataset

    _work(project, sets, as_json, wait_s, None, lambda shop: show_dataset(lifecycle.prepare(shop), as_json))


def train(
    project: ProjectPath = HERE,
    sets: Sets = None,
    as_json: AsJson = False,
    wait_s: WaitS = 0.0,
    decisions: Decisions = None,
) -> None:
    """A dataset to candidates, on a leaderboard, and the best of them to a bundle."""
    from luban import lifecycle
    from luban.cli.show import show_training

    def work(shop: Workshop) -> None:
        show_training(lifecycle.train(shop, lifecycle.prepare(shop)), as_json)

    _work(project, sets, as_json, wait_s, decisions, work)


def compress(project: ProjectPath = HERE, sets: Sets = None, as_json: AsJson = False, wait_s: WaitS = 0.0) -> None:
    """The trained bundle, or a smaller or faster one in its place where that pays."""
    from luban import lifecycle
    from luban.cli.show import show_compression

    def work(shop: Workshop) -> None:
        dataset = lifecycle.prepare(shop)
        show_compression(lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset)), as_json)

    _work(project, sets, as_json, wait_s, None, work)


def evaluate(
    project: ProjectPath = HERE,
    sets: Sets = None,
    as_json: AsJson = False,
    wait_s: WaitS = 0.0,
    data: Annotated[str | None, typer.Option("--data", help="Another file, folder, glob or URL to measure on.")] = None,
    model: Annotated[str, typer.Option("--model", help="With --data: version or alias to measure.")] = "champion",
    bundle: Annotated[Path | None, typer.Option("--bundle", help="With --data: a bundle's folder to measure.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --data: also write a .md or .json file.")] = None,
) -> None:
    """The chosen model on test rows, beside the baseline and the champion; with --data, a model on another file."""
    from luban import lifecycle
    from luban.cli.show import show_evaluation

    if data is not None:
        _elsewhere(project, sets, as_json, wait_s, data, model, bundle, out)
        return
    if out is not None or bundle is not None:
        raise ConfigError("--out and --bundle go with --data.", "Name the file to measure on with --data.")

    def work(shop: Workshop) -> None:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
        show_evaluation(shop, dataset, trained, lifecycle.evaluate(shop, dataset, trained).report, as_json)

    _work(project, sets, as_json, wait_s, None, work)


def _elsewhere(
    project: Path,
    sets: list[str] | None,
    as_json: bool,
    wait_s: float,
    data: str,
    model: str,
    bundle: Path | None,
    out: Path | None,
) -> None:
    from luban.cli import shifted

    shifted.check_out(out)
    if bundle is not None:
        shifted.show(shifted.in_folder(bundle, data, None), bundle.name, as_json, out)
        return
    shop = open_workshop(project, sets)
    found = shifted.released(shop, model, data)
    if found is not None:
        shifted.show(found, shop.project.name, as_json, out)
        return

    def work(shop: Workshop) -> None:
        shifted.show(shifted.trained(shop, data), shop.project.name, as_json, out)

    _work(project, sets, as_json, wait_s, None, work)


def release(
    project: ProjectPath = HERE, sets: Sets = None, as_json: AsJson = False, wait_s: WaitS = 0.0, force: Force = None
) -> None:
    """Through the gates into the registry. Runs what has not been run yet."""
    run(project, sets, as_json, wait_s, force, None)


def _work(
    project: Path,
    sets: list[str] | None,
    as_json: bool,
    wait_s: float,
    decisions: Path | None,
    work: Callable[[Workshop], None],
) -> None:
    from luban.cli.face import watching

    with watching(as_json) as watch:
        shop = open_workshop(project, sets, watch)
        with shop.working(wait_s, _read(decisions)) as working:
            work(working)


def _read(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--decisions must be a run's decisions.json, but `{path}`: {error}.") from None
    return found


def _shown(shop: Workshop, outcome: Any, as_json: bool) -> None:
    from luban.cli.show import show_outcome

    show_outcome(shop, outcome, as_json)
