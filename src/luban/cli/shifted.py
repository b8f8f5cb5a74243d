"""`luban evaluate --data`: a model on the rows of another file, beside its own test. Keeps nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from luban.errors import ConfigError

if TYPE_CHECKING:
    from luban.evaluate.config import EvaluateConfig
    from luban.evaluate.shift import Original, Shift
    from luban.workshop import Workshop

MARKDOWN, JSON = ".md", ".json"


def check_out(out: Path | None) -> None:
    """Raise ConfigError before anything is measured for a file of neither kind."""
    if out is not None and out.suffix not in (MARKDOWN, JSON):
        raise ConfigError(f"--out must end in {MARKDOWN} or {JSON}, but got `{out}`.")


def released(shop: Workshop, model: str, data: str) -> Shift | None:
    """The project's released version or alias `model` on `data`; None where nothing is released yet."""
    if shop.registry.find(shop.project.name, model) is None and not shop.registry.versions(shop.project.name):
        return None
    folder = shop.home.store.fetch(shop.registry.resolve(shop.project.name, model).tree)
    return in_folder(folder, data, shop)


def in_folder(folder: Path, data: str, shop: Workshop | None) -> Shift:
    """The bundle in `folder` on `data`; its own test rows are found where the project has them."""
    from luban.bundle.bundle import Bundle
    from luban.evaluate.config import EvaluateConfig

    bundle = Bundle.load(folder)
    reports = folder / "reports" / "evaluation.json"
    evaluation = json.loads(reports.read_bytes()) if reports.is_file() else None
    fingerprint = str(bundle.manifest.lineage.get("dataset", ""))
    tree = None if shop is None else shop.home.ledger.dataset(fingerprint)
    original = _original(evaluation, None if shop is None or tree is None else shop.home.store.fetch(tree))
    config, seed = (EvaluateConfig(), 0) if shop is None else (shop.project.evaluate, shop.project.seed)
    return _measure(bundle, data, original, config, seed)


def trained(shop: Workshop, data: str) -> Shift:
    """The project's trained model, which is not released, on `data`; it is trained first if that was not done."""
    from luban import lifecycle
    from luban.bundle.bundle import Bundle

    dataset = lifecycle.prepare(shop)
    found = lifecycle.compress(shop, dataset, lifecycle.train(shop, dataset))
    evaluation = lifecycle.evaluate(shop, dataset, found).report
    original = _original(evaluation, dataset.folder)
    return _measure(Bundle.load(found.bundle), data, original, shop.project.evaluate, shop.project.seed)


def _original(evaluation: dict[str, Any] | None, dataset: Path | None) -> Original:
    from luban.data.dataset import Dataset
    from luban.evaluate.rows import Rows
    from luban.evaluate.shift import Original

    if dataset is None:
        return Original(evaluation)
    kept = Dataset(dataset)
    return Original(evaluation, Rows.of(kept, "test"), (Rows.of(kept, "train"), Rows.of(kept, "valid")))


def _measure(bundle: Any, data: str, original: Original, config: EvaluateConfig, seed: int) -> Shift:
    from luban.data.sources import open_path
    from luban.evaluate.shift import shift

    return shift(bundle, open_path(data), "standard input" if data == "-" else Path(data).name, original, config, seed)


def show(found: Shift, title: str, as_json: bool, out: Path | None) -> None:
    """The finding on standard output, and in a file."""
    from luban.cli.said import emit
    from luban.evaluate.shift_text import markdown

    if out is not None:
        text = markdown(found, title) if out.suffix == MARKDOWN else json.dumps(found.to_json(), ensure_ascii=False)
        out.write_text(text, "utf-8")
        typer.echo(f"wrote {out}", err=True)
    if as_json:
        emit({"event": "done", "verb": "evaluate", **found.to_json()})
        return
    _print(found)


def _print(found: Shift) -> None:
    from luban.cli.show import table
    from luban.evaluate import shift_text as said

    print(said.verdict(found))
    print()
    table([{"rows": name, "number": count} for name, count in said.rows(found)])
    for head, lines in (
        (said.METRIC_HEAD, said.metric_rows(found)),
        (said.ANSWER_HEAD, said.answer_rows(found)),
        (said.DRIFT_HEAD, said.drift_rows(found)),
    ):
        if lines:
            print()
            table([dict(zip(head, line, strict=True)) for line in lines])
    for note in said.notes(found):
        print(f"note: {note}")
