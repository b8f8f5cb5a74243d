"""The verb `evaluate`: the chosen bundle on test rows, beside the baseline and the champion.

The model's and the baseline's outputs were computed by the training models, blindly, when they were
trained; here they are looked at, once. The champion answers the same rows through its own bundle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID, Dataset
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.costs import costs
from luban.evaluate.curves import curves
from luban.evaluate.cutting import columns_of, cuts
from luban.evaluate.evaluate import BASELINE, CHAMPION, MODEL, evaluate, labels_of
from luban.evaluate.findings import Findings
from luban.evaluate.robustness import Sample, robustness
from luban.evaluate.rows import Rows
from luban.evaluate.scored import Scored, scored, truth_of
from luban.evaluate.slices import slices
from luban.evaluate.worst import errors

UNCOMPRESSED = "uncompressed"
VALID, VALID_Y = "valid", "valid_y"


@dataclass(frozen=True)
class Measured:
    """What evaluating a bundle gives: the evaluation, and apart from it errors to read, which are rows' own values."""

    evaluation: dict[str, Any]
    errors: dict[str, Any] | None


def evaluate_bundle(
    bundle: Bundle, champion: Bundle | None, dataset: Dataset, trained: Path, seed: int, config: EvaluateConfig
) -> Measured:
    """The evaluation as JSON (an `Evaluation` and `Findings`), with `bundle` and `dataset` fingerprints and,
    where the champion cannot be compared, `champion_note` that says why.

    `trained` is the folder that `train` left (outputs.safetensors: model, baseline, y; after compression also
    uncompressed; where there are validation rows, the outputs that judged it and their targets: valid, valid_y).
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
    test = Rows.of(dataset, "test")
    clusters = test.clusters()
    found = evaluate(bundle.task, decoding, y, outputs, seed, config, champion_decoding, clusters).to_json()
    rows = _scored(bundle, y, outputs[MODEL])
    valid = _scored(bundle, kept[VALID_Y], kept[VALID]) if len(kept.get(VALID_Y, ())) else None
    look = Look(bundle, test, rows, valid, clusters, seed)
    evaluation = {
        **found,
        **look.findings(config).to_json(),
        "bundle": bundle.identity,
        "dataset": dataset.fingerprint,
        "champion": champion.identity if champion is not None else None,
        "champion_note": note,
    }
    return Measured(evaluation, look.errors(config))


def _scored(bundle: Bundle, y: np.ndarray, outputs: np.ndarray) -> Scored:
    decoding = bundle.manifest.task.decoding
    return scored(bundle.task, decoding, truth_of(bundle.task, decoding, y, outputs), outputs)


@dataclass(frozen=True)
class Look:
    """The deeper look at a bundle's answers: to test rows, and, to choose by, to validation rows."""

    bundle: Bundle
    test: Rows
    rows: Scored
    valid: Scored | None
    clusters: np.ndarray | None
    seed: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes as people read them."""
        return labels_of(self.bundle.manifest.task.decoding, self.rows)

    def findings(self, config: EvaluateConfig) -> Findings:
        """All that `config` asks for."""
        level, wanted = config.level, None if config.slices == "auto" else config.slices
        columns = columns_of(self.test.schema, wanted, self.test.read)
        found = cuts(columns, self.test.read)
        return Findings(
            curves=curves(self.rows, self.labels, level),
            slices=slices(self.rows, found, config.slice_rows, level, self.clusters) if columns else None,
            costs=costs(config.costs, self.labels, self.valid, self.rows, level, self.clusters)
            if config.costs is not None
            else None,
            robustness=robustness(self.bundle, self._sample(config.robustness_rows), level, self.seed)
            if config.robustness_rows
            else None,
        )

    def errors(self, config: EvaluateConfig) -> dict[str, Any] | None:
        """The errors to read, as JSON; None where none are wanted."""
        if not config.worst:
            return None
        features = self.bundle.preprocess.features
        picture = lambda name, value: features[name].picture(value)  # noqa: E731
        return errors(self.rows, self.labels, config.worst, self.test.fetch, picture).to_json()

    def _sample(self, count: int) -> Sample:
        chosen = self.test.sample(count, self.seed)
        found = self.test.fetch(chosen)
        return Sample(
            ids=[str(row.pop(ROW_ID)) for row in found],
            rows=found,
            truth=self.rows.truth[chosen],
            clusters=None if self.clusters is None else self.clusters[chosen],
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
