"""Integrated gradients: the output's slope along the way from an empty input to the row's.

(Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", 2017.)
For models with a checkpoint and gradients. Decided here: *empty* is a zero embedding for each entry and zero for scaled
numbers, so the base is what the model says of a row of the same length in which nothing stands (but a tokenizer's marks
of beginning and end, which count to the base): not the row without any value that other methods start from. Entries
of a text are given to the parts that they come from, by how far each beginning of the text reaches; what has no such
order (bags) is one share a column. Steps are doubled until shares and base are within 1e-3 of the output, or there are
`max_steps`; `gap` says what is left. What is explained is differentiated by its outputs numerically, so that no task
has to be known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from luban.bundle.bundle import Bundle
from luban.catalog import FAMILIES
from luban.errors import ConfigError, MissingExtra
from luban.explain.attribution import Attribution
from luban.explain.base import Case, Explainer, Finding, Unexplained
from luban.explain.question import Question
from luban.features.base import Encoder
from luban.models.base import Family, Gradients

CHECKPOINT, TRAINING = "checkpoint.safetensors", "training.json"
CLOSE = 1e-3
SAME = 0.1
"""Outputs of the checkpoint's model and of the bundle (compressed, maybe) differ by less, or it is another model: as a
share of the largest, or of 1."""


class IntegratedGradients(Explainer):
    """Slopes along the way from an empty input to the row's; for neural models."""

    extra: ClassVar[str] = "neural"
    attributes = True

    class Config(Explainer.Config):
        """How finely the way is followed."""

        steps: int = Field(32, ge=2)
        """Steps at first."""
        max_steps: int = Field(256, ge=2)
        """Steps at most."""

    def supports(self, bundle: Bundle, checkpoint: Path | None) -> str | None:
        """Bundles whose training left a checkpoint of a family that has gradients."""
        if checkpoint is None:
            return "it needs the checkpoint that training left, and none was named"
        if not (checkpoint / CHECKPOINT).is_file() or not (checkpoint / TRAINING).is_file():
            return f"`{checkpoint}` holds no {CHECKPOINT} with its {TRAINING}"
        try:
            opened = gradients_of(bundle, checkpoint)
        except (ConfigError, MissingExtra) as error:
            return error.message.rstrip(".")
        return "its family has no gradients" if opened is None else None

    def explain(self, case: Case) -> Sequence[Finding]:
        """An attribution a row."""
        assert case.checkpoint is not None
        model = gradients_of(case.bundle, case.checkpoint)
        assert model is not None
        return [q if isinstance(q, Unexplained) else self._one(q, model) for q in case.questions(self.kind)]

    def explain_random(self, case: Case) -> Sequence[Finding]:
        """The same rows for the checkpoint with its weights shuffled."""
        assert case.checkpoint is not None
        model = gradients_of(case.bundle, case.checkpoint, shuffle=case.seed)
        assert model is not None
        return [q if isinstance(q, Unexplained) else self._one(q, model) for q in case.questions(self.kind)]

    def _one(self, question: Question, model: Gradients) -> Attribution:
        bundle = question.bundle
        arrays = bundle.encode({name: [value] for name, value in question.values.items()})
        slopes = lambda outputs: slopes_of(question, outputs)  # noqa: E731
        ends, _ = model.along(arrays, np.array([0.0, 1.0]), slopes)
        base, output = question.quantity.one(ends, question.number).tolist()
        steps = self.config.steps
        while True:
            shares = (np.arange(steps) + 0.5) / steps
            _, found = model.along(arrays, shares, slopes)
            if abs(sum(float(v.sum()) for v in found.values()) - (output - base)) <= CLOSE:
                break
            if steps * 2 > self.config.max_steps:
                break
            steps *= 2
        groups, values = by_part(question, found)
        made = Attribution.of(question, self.kind, groups, values, additive=False)
        marks = sum(float(v.sum()) for v in found.values()) - float(values.sum())
        return replace(made, output=output, base=base + marks, asked=steps)


def gradients_of(bundle: Bundle, checkpoint: Path, shuffle: int | None = None) -> Gradients | None:
    """The trained model with gradients; None where its family has none.

    `shuffle` is the seed by which the entries of each of its weights are dealt out anew.

    Raises ConfigError where it answers the bundle's examples otherwise than the bundle, MissingExtra without PyTorch.
    """
    from safetensors.numpy import load_file

    training = json.loads((checkpoint / TRAINING).read_bytes())
    row = next(row for row in training["leaderboard"] if row["name"] == training["chosen"])
    cls = FAMILIES.resolve(row["family"])
    family: Family = cls(cls.Config.model_validate(row["config"]))
    spec = bundle.manifest.task
    weights = load_file(checkpoint / CHECKPOINT)
    if shuffle is not None:
        rng = np.random.default_rng(shuffle)
        weights = {name: rng.permutation(w.ravel()).reshape(w.shape) for name, w in sorted(weights.items())}
    model = family.gradients(weights, bundle.blocks, spec.as_head())
    if model is None or shuffle is not None:
        return model
    for row_values in bundle.example_rows()[:1]:
        arrays = bundle.encode(bundle.values([row_values]).columns)
        outputs, _ = model.along(arrays, np.array([1.0]), np.ones_like)
        expected = bundle.run(arrays)
        if np.abs(outputs - expected).max() > SAME * max(1.0, float(np.abs(expected).max())):
            raise ConfigError(f"`{checkpoint}` holds another model than the bundle.", "Name the folder it came from.")
    return model


def slopes_of(question: Question, outputs: np.ndarray) -> np.ndarray:
    """Derivative [S, n] of the explained quantity by each output [S, n], by central differences."""
    step = 1e-4
    found = np.zeros_like(outputs, np.float64)
    for number in range(outputs.shape[1]):
        moved = np.zeros(outputs.shape[1])
        moved[number] = step
        ahead, behind = (question.quantity.one(outputs + side * moved, question.number) for side in (1, -1))
        found[:, number] = (ahead - behind) / (2 * step)
    return found


def by_part(question: Question, found: dict[str, np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
    """Groups of parts, and the sum of what was found for the entries that come from each."""
    groups: list[np.ndarray] = []
    values: list[float] = []
    for column, parts in question.groups.items():
        blocks = [
            (encoder, block)
            for (name, encoder), block in zip(question.bundle.encoders, question.bundle.blocks, strict=True)
            if name == column and block.name in found
        ]
        if len(parts) > 1 and all(block.kind == "tokens" for _, block in blocks):
            totals = np.zeros(len(parts))
            for encoder, block in blocks:
                of = _part_of_entries(question, column, encoder)
                np.add.at(totals, of[of >= 0], found[block.name][of >= 0])
            groups += [parts[[i]] for i in range(len(parts))]
            values += totals.tolist()
        else:
            groups.append(parts)
            values.append(float(sum(found[block.name].sum() for _, block in blocks)))
    return groups, np.array(values)


def _part_of_entries(question: Question, column: str, encoder: Encoder) -> np.ndarray:
    """Which part [L] each entry comes from: the first with which the text's beginning reaches it; -1 for marks."""
    parts = question.bundle.preprocess.features[column].parts(question.values[column])
    size = len(parts.names)
    every = set(range(size))
    beginnings = [parts.without(list(range(stop, size))) for stop in range(1, size + 1)]
    alone = [parts.without(sorted(every - {i})) for i in range(size)]
    encoded = encoder.encode([*beginnings, *alone]).parts
    rows = np.split(encoded["ids"], encoded["offsets"][1:-1])
    whole = rows[size - 1]
    reached = np.maximum.accumulate([_alike(row, whole) for row in rows[:size]])
    of = np.searchsorted(reached, np.arange(len(whole)), side="right")
    of = np.minimum(of, size - 1)
    if len(np.unique(whole)) > 1:
        front = min(_alike(row, whole) for row in rows[size:])
        back = min(_alike(row[::-1], whole[::-1]) for row in rows[size:])
        of[:front] = -1
        of[len(whole) - back :] = -1
    return of


def _alike(first: np.ndarray, second: np.ndarray) -> int:
    """How many entries two lists begin with alike."""
    size = min(len(first), len(second))
    differs = np.flatnonzero(first[:size] != second[:size])
    return int(differs[0]) if len(differs) else size
