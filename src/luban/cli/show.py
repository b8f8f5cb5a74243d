"""What the verbs found, for a person at a terminal or as one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from luban.cli.face import emit

if TYPE_CHECKING:
    from luban.data.dataset import Dataset
    from luban.lifecycle import Outcome, Trained
    from luban.release.registry import Version
    from luban.workshop import Workshop


def table(rows: list[dict[str, Any]]) -> None:
    """Rows as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0] if rows else ():
        shown.add_column(name)
    for row in rows:
        shown.add_row(*(str(value) if value is not None else "" for value in row.values()))
    Console().print(shown)


def show_dataset(dataset: Dataset, as_json: bool) -> None:
    """Rows read, kept and set aside."""
    if as_json:
        emit({"event": "done", "verb": "prepare", "dataset": dataset.fingerprint, **dataset.report})
        return
    print(f"dataset {dataset.fingerprint[:12]}: {dataset.num_rows:,} rows, {dataset.splits}")


def show_training(trained: Trained, as_json: bool) -> None:
    """The leaderboard."""
    report = trained.report
    if as_json:
        emit({"event": "done", "verb": "train", **report})
    else:
        table([{k: row[k] for k in ("name", "status", "loss", "seconds", "reason")} for row in report["leaderboard"]])


def show_evaluation(
    shop: Workshop, dataset: Dataset, trained: Trained, evaluation: dict[str, Any], as_json: bool
) -> None:
    """Figures on test rows."""
    if as_json:
        emit({"event": "done", "verb": "evaluate", **evaluation})
        return
    table([{"metric": k, **v} for k, v in evaluation["metrics"].items()])


def show_outcome(shop: Workshop, outcome: Outcome, as_json: bool) -> None:
    """The version that a run came to."""
    version = outcome.version
    if as_json:
        emit({"event": "done", "verb": "run", "run": shop.run_id, "version": version.to_json()})
        return
    show_training(outcome.trained, False)
    show_evaluation(shop, outcome.dataset, outcome.trained, outcome.evaluation, False)
    print(f"{version.name} version {version.number}, {', '.join(version.aliases)}")


def show_version(shop: Workshop, version: Version, as_json: bool) -> None:
    """One version."""
    if as_json:
        emit(version.to_json())
    else:
        table([{"what": k, "is": v} for k, v in version.to_json().items()])
