"""What the verbs found, for a person at a terminal or as one JSON object. Renders records, computes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from luban.cli.said import emit
from luban.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from luban.data.dataset import Dataset
    from luban.evaluate.report import Report
    from luban.lifecycle import Outcome, Trained
    from luban.release.registry import Version
    from luban.workshop import Workshop


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a table on standard output."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0] if rows else ():
        shown.add_column(name, overflow="fold", no_wrap=name == "id")  # what is copied stays in one piece
    for row in rows:
        shown.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(shown)


def show_dataset(dataset: Dataset, as_json: bool) -> None:
    """Rows read, kept and set aside; columns and what they were taken for."""
    report = dataset.report
    if as_json:
        emit({"event": "done", "verb": "prepare", "dataset": dataset.fingerprint, **report})
        return
    rows = report["rows"]
    aside = ", ".join(f"{count:,} {rule}" for rule, count in rows["quarantined"].items()) or "none"
    print(f"{rows['found']:,} rows found, {rows['kept']:,} kept; set aside: {aside}")
    print(", ".join(f"{name} {count:,}" for name, count in dataset.splits.items()))
    table([{name: column[name] for name in ("name", "type", "role", "why")} for column in report["columns"]])
    for note in report["notes"]:
        print(f"note: {note}")
    print(f"dataset {dataset.fingerprint[:12]} in {dataset.folder}")


def show_training(trained: Trained, as_json: bool) -> None:
    """The leaderboard."""
    report = trained.report
    if as_json:
        emit({"event": "done", "verb": "train", **report})
        return
    best = report["chosen"]
    table([_candidate(row, row["name"] == best) for row in report["leaderboard"]])
    if tuning := report.get("tuning"):
        counts = ", ".join(f"{count} {status}" for status, count in tuning["counts"].items() if count)
        print(f"tuned {tuning['family']}: {counts or 'no trial'}; {tuning['stopped']}")
        if tuning["best"]:
            print(f"best {tuning['best']}, as YAML: {tuning['best_yaml']}")
    if report["more_rows"] is not None:
        print(report["more_rows"]["sentence"])
    print(f"{best} has the least {report['loss']} on validation rows; its bundle is in {trained.bundle}")


def _candidate(row: Mapping[str, Any], chosen: bool) -> dict[str, Any]:
    return {
        "candidate": f"{row['name']} ←" if chosen else row["name"],
        "status": row["status"],
        "loss": None if row["loss"] is None else f"{row['loss']:.4f}{_spread(row)}",
        "seconds": None if row["seconds"] is None else f"{row['seconds']:.1f}",
        "note": row["reason"],
    }


def show_compression(trained: Trained, as_json: bool) -> None:
    """What was tried, and why it was kept or not."""
    report = trained.report["compression"]
    if as_json:
        emit({"event": "done", "verb": "compress", **report})
        return
    for tried in report["tried"]:
        print(f"{tried['method']} {tried['status']}. {tried['reason']}")
    what = f"compressed by {report['chosen']}" if report["chosen"] else "as it was trained"
    print(f"the bundle, {what}, is in {trained.bundle}")


def _spread(row: Mapping[str, Any]) -> str:
    return "" if row.get("spread") is None else f" ± {row['spread']:.4f}"


def show_evaluation(
    shop: Workshop, dataset: Dataset, trained: Trained, evaluation: dict[str, Any], as_json: bool
) -> None:
    """Figures on test rows with intervals, beside the baseline and the champion."""
    if as_json:
        emit({"event": "done", "verb": "evaluate", **evaluation})
        return
    from luban.evaluate.report import Report, data_facts, train_seconds
    from luban.evaluate.terminal import render_terminal

    project = shop.project
    report = Report(
        title=project.name,
        project={"name": project.name, "owner": project.owner, "purpose": project.purpose},
        data=data_facts(dataset.report),
        training=trained.report,
        evaluation=evaluation,
        costs={"train_s": train_seconds(trained.report)},
        language=project.language,
    )
    render_terminal(report)


def show_outcome(shop: Workshop, outcome: Outcome, as_json: bool) -> None:
    """The version that a run came to, with its report and where it lies."""
    version = outcome.version
    if as_json:
        folder = str(shop.home.store.fetch(version.tree))
        emit({"event": "done", "verb": "run", "run": shop.run_id, "version": version.to_json(), "bundle": folder})
        return
    show_version(shop, version, False)


def show_version(shop: Workshop, version: Version, as_json: bool) -> None:
    """A released version's report, and where its pages are."""
    if as_json:
        emit({**version.to_json(), "bundle": str(shop.home.store.fetch(version.tree))})
        return
    from luban.evaluate.terminal import render_terminal

    folder = shop.home.store.fetch(version.tree)
    report = _report(folder, version)
    render_terminal(report)
    words = report.view.words
    aliases = words["version_aliases"].format(names=words["comma"].join(version.aliases)) if version.aliases else ""
    values = {"name": version.name, "number": version.number, "aliases": aliases, "identity": version.identity[:12]}
    print("\n" + words["version_line"].format(**values))
    print(words["version_report"].format(path=folder / "reports" / "report.html"))


def _report(folder: Path, version: Version) -> Report:
    """The report as it was written, with the reason for which a failed gate was overruled, then or later."""
    from luban.evaluate.report import Report

    path = folder / "reports" / "report.json"
    if not path.is_file():
        raise BundleError(f"The bundle `{folder}` has no reports/report.json.", "Release the model again: `luban run`.")
    report = Report.model_validate_json(path.read_bytes())
    return report.model_copy(update={"forced": version.forced_reason or ""})
