"""One candidate: planned, fitted, exported, and kept as a folder that stands for it from then on.

Decided here: a finished candidate is always read back from its folder (as `GraphModel`), also in the
run that made it, so that a run that was killed and resumed gives the same bytes as one that was not.
Outputs on test rows are computed once, here, by the training model, and are not looked at before
`evaluate`; they are what parity is measured against.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from luban.catalog import FAMILIES, Choice, canonical
from luban.features.base import Encoder
from luban.models.base import Family, FitContext, Fitted, Member, Progress, Refusal, Unfinished
from luban.models.graph_model import GraphModel
from luban.models.neural.learner import Learner, Loop, Trained
from luban.models.neural.recipe import Recipe
from luban.models.plan import PlannedInput, plan
from luban.train.encode import TrainData
from luban.train.given import Given, Inputs, Known, OfColumns, OfMembers
from luban.train.imbalance import fit_balanced
from luban.train.loop import loop

Decide = Callable[[str, Callable[[], Any]], Any]


@dataclass(frozen=True)
class Spec:
    """A candidate before it is trained: its name on the leaderboard and its family with settings.

    `skip` says why it is listed but not trained.
    """

    name: str
    choice: Choice
    skip: str = ""


@dataclass(frozen=True)
class Candidate:
    """A finished candidate, read back from its folder.

    `valid` and `test` are outputs [B, n] of the training model; `facts["parity"]` is the largest
    difference of its answers to those of the exported graph on test rows; `encoders` are the
    (column, encoder) pairs that its graph reads.
    """

    spec: Spec
    facts: dict[str, Any]
    graph: bytes
    valid: np.ndarray
    test: np.ndarray
    folder: Path
    encoders: list[tuple[str, Encoder]] = field(default_factory=list)
    folds: tuple[Candidate, ...] = ()
    """The models of its folds, where there are folds: it then has no graph of its own, and `valid` are the outputs
    of all rows by models that did not see them."""

    @property
    def loss(self) -> float:
        """Loss on validation rows after calibration: lower is better."""
        return float(self.facts["loss"])

    def member(self) -> Member:
        """What a vote sees of it."""
        known = Known(np.concatenate([self.valid, self.test]), self.graph)
        return Member(self.spec.name, self.spec.choice.kind, self.valid, known)


@dataclass(frozen=True)
class Limits:
    """What one candidate may use: threads, seconds, and room for what a killed run goes on from."""

    num_threads: int
    seconds_left: float
    unfinished: Unfinished | None = None


def planned(data: TrainData, choice: Choice, members: Sequence[Candidate]) -> Inputs | Refusal:
    """The encoders that a candidate reads, or why it cannot be made."""
    family: Family = FAMILIES.resolve(choice.kind)(choice.config)
    if data.head.kind not in family.heads:
        return Refusal(f"{choice.kind} has no head `{data.head.kind}`")
    if family.votes:
        if len(members) < 2:
            return Refusal("a vote needs at least two finished candidates")
        return inputs_of(members)
    found = plan(family, data.features, data.head)
    if isinstance(found, Refusal):
        return found
    return _inputs(data, found.inputs)


def inputs_of(members: Sequence[Candidate]) -> Inputs:
    """All that the members of a vote read, each once."""
    unique = {e.block(c).name: (c, e) for m in members for c, e in m.encoders}
    return Inputs(list(unique.values()), [])


def reads_directly(data: TrainData, family: Family) -> bool:
    """Whether some column gives what the family wants without a converter; so too where nothing does."""
    found = plan(family, data.features, data.head)
    return isinstance(found, Refusal) or any(item.converter is None for item in found.inputs)


def _inputs(data: TrainData, planned_inputs: Sequence[PlannedInput]) -> Inputs:
    pairs: list[tuple[str, Encoder]] = []
    converters: list[tuple[str, Encoder, Choice]] = []
    seen: set[str] = set()
    for item in planned_inputs:
        encoder = data.encoder(item.column, item.want)
        key = f"{item.column}/{encoder.state_fingerprint}/{item.converter}"
        if key in seen:  # wants that differ only in what the column's type ignores
            continue
        seen.add(key)
        pairs.append((item.column, encoder))
        if item.converter is not None:
            converters.append((item.column, encoder, item.converter))
    return Inputs(pairs, converters)


def train_candidate(
    folder: Path,
    spec: Spec,
    data: TrainData,
    inputs: Inputs,
    members: Sequence[Candidate],
    limits: Limits,
    decide: Decide,
    progress: Progress,
) -> None:
    """Train `spec` and write its folder. `folder` exists and is empty."""
    began = time.monotonic()
    decisions: dict[str, Any] = {}
    curve: list[dict[str, float]] = []

    def decided(key: str, make: Callable[[], Any]) -> Any:
        decisions[key] = decide(f"{spec.name}:{key}", make)
        return decisions[key]

    family: Family = FAMILIES.resolve(spec.choice.kind)(spec.choice.config)
    bench: Given = OfMembers(data, inputs) if members else OfColumns(data, inputs)
    context = FitContext(
        head=data.head,
        blocks=bench.blocks,
        valid=bench.arrays("valid"),
        y_valid=data.y("valid"),
        seed=data.seed,
        num_threads=limits.num_threads,
        seconds_left=limits.seconds_left,
        loss=lambda outputs, y: calibrated_loss(data, outputs, y),
        decide=decided,
        progress=progress,
        members=tuple(member.member() for member in members),
        loop=_noting(curve),
        unfinished=limits.unfinished,
    )
    fitted = fit_balanced(family, bench.train, data.y("train"), context, data)
    valid, test = (bench.predict(fitted, part) for part in ("valid", "test"))
    graph = bench.export(fitted)
    found = GraphModel(graph).predict(data.arrays(inputs.pairs, "test"))
    facts = {
        **_facts(spec, bench, fitted),
        "loss": calibrated_loss(data, valid, data.y("valid")),
        "parity": max(difference(data, valid, data.y("valid"), found, test), _parity_of(fitted, members)),
        "decisions": decisions,
        "curve": curve,
    }
    checkpoint = {name: np.ascontiguousarray(a) for name, a in sorted(fitted.checkpoint().items())}
    _write(folder, facts, graph, checkpoint, {"valid": valid, "test": test})
    (folder / "seconds.json").write_bytes(canonical(round(time.monotonic() - began, 3)))


def _facts(spec: Spec, bench: Given, fitted: Fitted) -> dict[str, Any]:
    """What a candidate is, apart from what was measured."""
    return {
        "name": spec.name,
        "family": spec.choice.kind,
        "config": spec.choice.config.identity(),
        "blocks": [block.name for block in bench.blocks],
        "voters": [member.name for member in getattr(fitted, "members", ())],
        "notes": getattr(fitted, "notes", ""),
    }


def _write(
    folder: Path, facts: dict[str, Any], graph: bytes, checkpoint: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> None:
    """All of a candidate that is the same whenever it is trained."""
    from safetensors.numpy import save

    (folder / "checkpoint.safetensors").write_bytes(save(checkpoint))
    (folder / "outputs.safetensors").write_bytes(save(outputs))
    (folder / "graph.onnx").write_bytes(graph)
    (folder / "candidate.json").write_bytes(canonical(facts))


def _noting(curve: list[dict[str, float]]) -> Loop:
    """The training loop, which also writes into `curve` how the loss went: an entry an evaluation."""

    def looped(learner: Learner, recipe: Recipe, context: FitContext) -> Trained:
        trained = loop(learner, recipe, context)
        curve.extend(dict(row) for row in trained.history)
        return trained

    return looped


def difference(data: TrainData, valid: np.ndarray, y: np.ndarray, found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of two models' answers: of probabilities where there are any, else of outputs.

    `valid` and `y` are outputs and truth that the decoding is fitted to.
    """
    decoding = data.task.calibrate(data.target_encoder, valid, y)
    answers = [data.task.scores(outputs, decoding) for outputs in (found, expected)]
    if answers[0].ndim == 1:
        answers = [found, expected]
    return float(np.abs(answers[0] - answers[1]).max(initial=0.0))


def _parity_of(fitted: Fitted, members: Sequence[Candidate]) -> float:
    """The largest difference that the members of a vote had when they were exported; 0 for others."""
    voters = {member.name for member in getattr(fitted, "members", ())}
    return max((float(m.facts["parity"]) for m in members if m.spec.name in voters), default=0.0)


def read_candidate(folder: Path, spec: Spec, inputs: Inputs) -> Candidate:
    """The candidate that `train_candidate` wrote."""
    from safetensors.numpy import load_file

    outputs = load_file(folder / "outputs.safetensors")
    facts = json.loads((folder / "candidate.json").read_bytes())
    facts["seconds"] = json.loads((folder / "seconds.json").read_bytes())
    graph = (folder / "graph.onnx").read_bytes()
    return Candidate(spec, facts, graph, outputs["valid"], outputs["test"], folder, inputs.pairs)


def calibrated_loss(data: TrainData, outputs: np.ndarray, y: np.ndarray) -> float:
    """Loss of a head after the task's own calibration: log loss per row, or mean squared error."""
    decoding = data.task.calibrate(data.target_encoder, outputs, y)
    return data.task.loss(outputs, y, decoding)
