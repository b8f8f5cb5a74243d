"""The verb `train`: candidates in order, within the budget, on a leaderboard; the best becomes a bundle.

Decided here: a candidate is chosen by its loss on validation rows after calibration; ties go to the
earlier one. The baseline is always first. Whether a candidate is started is a decision, recorded
before it is acted on; so a resumed run tries what the first one would have tried. Names no family.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from luban.bundle.bundle import HEAD
from luban.bundle.manifest import RowStepSpec, TaskSpec
from luban.bundle.write import Draft, write_bundle
from luban.catalog import TASKS, Choice, canonical
from luban.data.dataset import Dataset
from luban.errors import DataError
from luban.features.kinds import num_rows, pad, take
from luban.models.base import Refusal
from luban.models.graph_model import GraphModel
from luban.tasks.base import Task
from luban.train.candidate import (
    Candidate,
    Decide,
    Inputs,
    Limits,
    Spec,
    planned,
    read_candidate,
    train_candidate,
)
from luban.train.config import TrainConfig
from luban.train.encode import TrainData
from luban.train.specs import family_of, specs

NUM_EXAMPLES = 8
LEAST_SHARE = 0.1
"""Of the budget: what a candidate that was started may use even if less is left."""


class Keep(Protocol):
    """Runs `make(folder)` once for `key` and gives the folder that it filled, now and ever after."""

    def __call__(self, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of `key`."""
        ...


class Watch(Protocol):
    """Told what happens: `(what, share done)` while fitting, `(leaderboard row)` when one is done."""

    def step(self, what: str, share: float) -> None:
        """What is being done, and the share of it that is done."""
        ...

    def candidate(self, row: dict[str, Any]) -> None:
        """A new row of the leaderboard."""
        ...


@dataclass(frozen=True)
class Facts:
    """What the bundle says of itself beside what was learnt."""

    name: str
    owner: str
    purpose: str


def choose_task(task: Choice | str, dataset: Dataset) -> Task:
    """The task that was asked for, or the first of the catalog that suits the target.

    Raises DataError with each task's reason where none does.
    """
    target = dataset.schema.target
    if target is None:
        raise DataError("There is no target column.", "Name one in `data.target`.")
    classes = _classes(dataset, target.name)
    asked = (
        [(task.kind, TASKS.resolve(task.kind)(task.config))]
        if isinstance(task, Choice)
        else [(name, TASKS.make(name)) for name in TASKS.own()]
    )
    reasons = []
    candidate: Task
    for name, candidate in asked:
        reason = candidate.supports(dataset.schema, classes)
        if reason is None:
            return candidate
        reasons.append(f"{name}: {reason}")
    raise DataError(
        f"No task suits the target `{target.name}`: {'; '.join(reasons)}.", "Check `data.target` and its type."
    )


def _classes(dataset: Dataset, column: str) -> int | None:
    counts = dataset.report.get("class_counts")
    return len(set(dataset.values(column, "train"))) if counts is None else len(counts)


def train(
    dataset: Dataset,
    task: Task,
    config: TrainConfig,
    facts: Facts,
    seed: int,
    out: Path,
    keep: Keep,
    decide: Decide,
    watch: Watch,
) -> dict[str, Any]:
    """Train candidates and write into `out`: `bundle/`, `outputs.safetensors`, `checkpoint.safetensors`,
    `training.json`. Returns the training report.
    """
    data = TrainData(dataset, task, seed)
    trial = _Trial(data, config, keep, decide, watch)
    for spec in specs(config, data):
        trial.run(spec)
    chosen = trial.best()
    report = trial.report(chosen)
    _write(out, data, facts, chosen, trial.baseline, report, keep)
    return report


class _Trial:
    """The state of one training run: what was tried, how long it took, what came out."""

    def __init__(self, data: TrainData, config: TrainConfig, keep: Keep, decide: Decide, watch: Watch) -> None:
        self._data, self._config = data, config
        self._keep, self._decide, self._watch = keep, decide, watch
        self._rows: list[dict[str, Any]] = []
        self._spent = 0.0
        self.done: list[Candidate] = []
        self.baseline: Candidate

    def run(self, spec: Spec) -> None:
        """Train `spec` if it can be made and the budget allows; put it on the leaderboard."""
        members = [c for c in self.done if c is not self.baseline] if self.done else []
        inputs = planned(self._data, spec.choice, members)
        if isinstance(inputs, Refusal):
            self._row(spec, "refused", reason=inputs.reason)
            return
        go = self._decide(f"start:{spec.name}", lambda: self._may_start(spec))
        if go is not True:
            self._row(spec, "skipped", reason=str(go))
            return
        began = time.monotonic()
        try:
            candidate = self._train(spec, inputs, members)
        finally:
            self._spent += time.monotonic() - began
        seconds = candidate.facts["seconds"]
        if not self.done:
            self.baseline = candidate
        self.done.append(candidate)
        self._row(spec, "trained", loss=candidate.loss, seconds=seconds, reason=candidate.facts["notes"])

    def _train(self, spec: Spec, inputs: Inputs, members: Sequence[Candidate]) -> Candidate:
        def make(folder: Path) -> None:
            budget = self._config.time_budget_s
            limits = Limits(self._config.threads, max(budget - self._spent, LEAST_SHARE * budget))
            progress = lambda what, share: self._watch.step(f"{spec.name}: {what}", share)  # noqa: E731
            train_candidate(folder, spec, self._data, inputs, members, limits, self._decide, progress)

        self._watch.step(spec.name, 0.0)
        key = ":".join([spec.name, canonical(spec.choice.identity()).decode(), *(m.facts["name"] for m in members)])
        return read_candidate(self._keep(key, make), spec, inputs)

    def _may_start(self, spec: Spec) -> bool | str:
        if not self.done or family_of(spec.choice).votes:
            return True
        tried = len(self.done) - 1
        if self._config.max_candidates is not None and tried >= self._config.max_candidates:
            return f"max_candidates ({self._config.max_candidates}) reached"
        if tried and self._spent >= self._config.time_budget_s:
            return f"time_budget_s ({self._config.time_budget_s:g}) spent"
        return True

    def _row(
        self, spec: Spec, status: str, loss: float | None = None, seconds: float | None = None, reason: str = ""
    ) -> None:
        row = {
            "name": spec.name,
            "family": spec.choice.kind,
            "config": spec.choice.config.identity(),
            "status": status,
            "loss": loss,
            "seconds": seconds,
            "reason": reason,
        }
        self._rows.append(row)
        self._watch.candidate(row)

    def best(self) -> Candidate:
        """The candidate of least loss; the baseline only where nothing else could be trained."""
        others = [c for c in self.done if c is not self.baseline]
        if not others:
            reasons = "; ".join(f"{row['name']}: {row['reason']}" for row in self._rows[1:])
            raise DataError(f"No model could be trained. {reasons}.", "Name other families in `train.models`.")
        return min(others, key=lambda c: c.loss)

    def report(self, chosen: Candidate) -> dict[str, Any]:
        """The leaderboard and what was chosen, as JSON."""
        return {
            "chosen": chosen.spec.name,
            "loss": "mean squared error" if self._data.head.kind == "real" else "log loss",
            "leaderboard": self._rows,
            "parity": chosen.facts["parity"],
            "time_budget_s": self._config.time_budget_s,
            "rows": {split: len(self._data.y(split)) for split in ("train", "valid")},
        }


def _write(
    out: Path,
    data: TrainData,
    facts: Facts,
    chosen: Candidate,
    baseline: Candidate,
    report: dict[str, Any],
    keep: Keep,
) -> None:
    from safetensors.numpy import save

    decoding = data.task.calibrate(data.target_encoder, chosen.valid, data.y("valid"))
    (out / "bundle").mkdir()
    write_bundle(out / "bundle", _draft(data, facts, chosen, decoding))
    outputs = {"model": chosen.test, "baseline": baseline.test, "y": np.asarray(data.y("test"), np.float64)}
    named = {name: np.ascontiguousarray(array) for name, array in outputs.items()}
    (out / "outputs.safetensors").write_bytes(save(named))
    (out / "training.json").write_bytes(canonical(report))


def _draft(data: TrainData, facts: Facts, chosen: Candidate, decoding: dict[str, Any]) -> Draft:
    kinds = {column for column, _ in chosen.encoders}
    schema = data.dataset.schema
    pairs = chosen.encoders
    count = min(NUM_EXAMPLES, len(data.y("valid")))
    arrays = take(data.arrays(pairs, "valid"), np.arange(count))
    model = GraphModel(chosen.graph)
    takes = {value.name for value in onnx.load_model_from_string(chosen.graph).graph.input}
    padded = {name: array for name, array in pad(arrays).items() if name in takes}
    names = [column.name for column in schema.inputs]
    rows = data.dataset.table(names, "valid").slice(0, min(count, 3)).to_pylist()
    task = data.task
    assert num_rows(arrays) == count
    return Draft(
        name=facts.name,
        owner=facts.owner,
        purpose=facts.purpose,
        task=TaskSpec(
            kind=task.kind,
            config=task.config.identity(),
            head=data.head.kind,
            width=data.head.width,
            decoding=decoding,
            target=data.target.name,
        ),
        schema=schema,
        row_steps=[RowStepSpec.model_validate(step) for step in data.dataset.info["row_steps"]],
        encoders=[pair for pair in pairs if pair[0] in kinds],
        graph=chosen.graph,
        examples={**padded, HEAD: model.predict(arrays).astype(np.float32)},
        example_rows=[{k: _plain(v) for k, v in row.items() if v is not None} for row in rows],
    )


def _plain(value: Any) -> Any:
    """A parsed value as JSON has it: what is no string, number or truth value as text."""
    return value if isinstance(value, (str, int, float, bool)) else str(value)
