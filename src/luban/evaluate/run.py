"""The verb `evaluate`: the chosen bundle on test rows, beside the baseline and the champion.

The model's and the baseline's outputs were computed by the training models, blindly, when they were
trained; here they are looked at, once. The champion answers the same rows through its own bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from luban.bundle.bundle import Bundle
from luban.data.dataset import Dataset
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.curves import curves
from luban.evaluate.cutting import columns_of, cuts
from luban.evaluate.evaluate import BASELINE, CHAMPION, MODEL, evaluate, labels_of
from luban.evaluate.findings import Findings
from luban.evaluate.scored import Scored, scored, truth_of
from luban.evaluate.slices import slices

UNCOMPRESSED = "uncompressed"


def evaluate_bundle(
    bundle: Bundle, champion: Bundle | None, dataset: Dataset, trained: Path, seed: int, config: EvaluateConfig
) -> dict[str, Any]:
    """The evaluation as JSON (an `Evaluation` and `Findings`), with `bundle` and `dataset` fingerprints and,
    where the champion cannot be compared, `champion_note` that says why.

    `trained` is the folder that `train` left (outputs.safetensors: model, baseline, y; after compression also
    uncompressed).
    """
    from safetensors.numpy import load_file

    kept = load_file(trained / "outputs.safetensors")
    outputs = {MODEL: kept["model"], BASELINE: kept["baseline"]}
    if UNCOMPRESSED in kept:
        outputs[UNCOMPRESSED] = kept[UNCOMPRESSED]
    decoding = bundle.manifest.task.decoding
    champion_decoding, note = None, ""
    if champion is not None:
        note = incomparable(bundle, champion)
        if not note:
            outputs[CHAMPION] = answer(champion, dataset)
            champion_decoding = champion.manifest.task.decoding
    y = kept["y"]
    if bundle.manifest.task.head == "softmax":
        y = y.astype(np.int64)
    found = evaluate(bundle.task, decoding, y, outputs, seed, config, champion_decoding).to_json()
    rows = scored(bundle.task, decoding, truth_of(bundle.task, decoding, y, outputs[MODEL]), outputs[MODEL])
    return {
        **found,
        **findings(bundle, dataset, rows, config).to_json(),
        "bundle": bundle.identity,
        "dataset": dataset.fingerprint,
        "champion": champion.identity if champion is not None else None,
        "champion_note": note,
    }


def findings(bundle: Bundle, dataset: Dataset, rows: Scored, config: EvaluateConfig) -> Findings:
    """The deeper look at a bundle's answers to the test rows of a dataset."""

    def read(column: str) -> Iterator[pa.Array]:
        return (batch.column(0) for batch in dataset.batches([column], "test"))

    columns = columns_of(dataset.schema, None if config.slices == "auto" else config.slices)
    return Findings(
        curves=curves(rows, labels_of(bundle.manifest.task.decoding, rows), config.level),
        slices=slices(rows, cuts(columns, read), config.slice_rows, config.level) if columns else None,
    )


def answer(bundle: Bundle, dataset: Dataset) -> np.ndarray:
    """A bundle's outputs [B, n] for the test rows of a dataset, through its whole path."""
    names = [column.name for column in bundle.schema.inputs if column.name in dataset.schema]
    pieces = []
    for batch in dataset.batches(names, "test", batch_rows=4096):
        values = bundle.values(batch)
        pieces.append(bundle.run(bundle.encode(values.columns)))
    return np.concatenate(pieces) if pieces else np.zeros((0, bundle.manifest.task.width))


def incomparable(bundle: Bundle, champion: Bundle) -> str:
    """Why the champion cannot be compared with a bundle on the same rows; empty if it can."""
    ours, theirs = bundle.manifest.task, champion.manifest.task
    if (ours.kind, ours.target) != (theirs.kind, theirs.target):
        return f"the champion predicts `{theirs.target}` ({theirs.kind}), not `{ours.target}` ({ours.kind})"
    if ours.decoding.get("classes") != theirs.decoding.get("classes"):
        return "the champion knows other classes"
    return ""
