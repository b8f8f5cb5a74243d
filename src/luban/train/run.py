"""The verb `train`: candidates in order, within the budget, on a leaderboard; the best becomes a bundle.

Decided here: a candidate is chosen by its loss on validation rows after calibration; ties go to the
earlier one. The baseline is always first. Whether a candidate is started is a decision, recorded
before it is acted on; so a resumed run tries what the first one would have tried. Names no family.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from luban.catalog import TASKS, Choice, canonical
from luban.data.dataset import Dataset
from luban.errors import DataError
from luban.models.base import Refusal
from luban.tasks.base import Task
from luban.train.candidate import (
    Candidate,
    Decide,
    Inputs,
    Limits,
    Spec,
    inputs_of,
    planned,
    read_candidate,
    train_candidate,
)
from luban.train.config import TrainConfig
from luban.train.encode import TrainData
from luban.train.specs import family_of, specs
from luban.train.tune.config import TuneConfig
from luban.train.tune.halving import named, with_share
from luban.train.tune.search import Result, Search
from luban.train.write import Facts, Final, write

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
    tune: TuneConfig | None = None,
) -> dict[str, Any]:
    """Train candidates and write into `out`: `bundle/`, `outputs.safetensors`, `checkpoint.safetensors`,
    `training.json`. Returns the training report. `tune`: a search whose trials are candidates too.
    """
    data = TrainData(dataset, task, seed)
    trial = _Trial(data, config, keep, decide, watch)
    listed = specs(config, data)
    votes = [spec for spec in listed if family_of(spec.choice).votes]
    steps: list[Spec | TuneConfig] = [*listed, *([] if tune is None else [tune])]
    for step in sorted(steps, key=lambda step: step in votes):
        trial.tune(step) if isinstance(step, TuneConfig) else trial.run(step)
    chosen = trial.best()
    decoding = task.calibrate(data.target_encoder, chosen.valid, data.y("valid"))
    final = trial.refit(chosen) if config.refit else chosen
    report = trial.report(chosen, final)
    write(out, data, facts, Final(final, decoding, trial.baseline.test), report)
    return report


class _Trial:
    """The state of one training run: what was tried, how long it took, what came out."""

    def __init__(self, data: TrainData, config: TrainConfig, keep: Keep, decide: Decide, watch: Watch) -> None:
        self._data, self._config = data, config
        self._keep, self._decide, self._watch = keep, decide, watch
        self._rows: list[dict[str, Any]] = []
        self._spent = 0.0
        self._whole: TrainData | None = None
        self._parts: dict[float, TrainData] = {1.0: data}
        self._benched: set[str] = set()
        self._search: Search | None = None
        self.done: list[Candidate] = []
        self.baseline: Candidate

    def run(self, spec: Spec) -> None:
        """Train `spec` if it can be made and the budget allows; put it on the leaderboard."""
        if spec.skip:
            self._row(spec, "skipped", reason=spec.skip)
            return
        members = self._members()
        inputs = planned(self._data, spec.choice, members)
        if isinstance(inputs, Refusal):
            self._row(spec, "refused", reason=inputs.reason)
            return
        go = self._decide(f"start:{spec.name}", lambda: self._may_start(spec))
        if go is not True:
            self._row(spec, "skipped", reason=str(go))
            return
        began = time.monotonic()
        budget = self._config.time_budget_s
        left = lambda: max(budget - self._spent, LEAST_SHARE * budget)  # noqa: E731
        candidate = self._train(spec, inputs, members, self._data, left)
        seconds = candidate.facts["seconds"]
        # What a run that was killed left costs what it cost then: resuming brings no second budget.
        self._spent += max(time.monotonic() - began, seconds)
        if not self.done:
            self.baseline = candidate
        self.done.append(candidate)
        self._row(spec, "trained", loss=candidate.loss, seconds=seconds, reason=candidate.facts["notes"])

    def _members(self) -> list[Candidate]:
        """Who may join a vote: all that is finished but the baseline and the lesser trials of a tuning."""
        return [c for c in self.done if c is not self.baseline and c.spec.name not in self._benched]

    def _train(
        self, spec: Spec, inputs: Inputs, members: Sequence[Candidate], data: TrainData, left: Callable[[], float]
    ) -> Candidate:
        def make(folder: Path) -> None:
            limits = Limits(self._config.threads, left())
            progress = lambda what, share: self._watch.step(f"{spec.name}: {what}", share)  # noqa: E731
            train_candidate(folder, spec, data, inputs, members, limits, self._decide, progress)

        self._watch.step(spec.name, 0.0)
        return read_candidate(self._keep(_key(spec, members), make), spec, inputs)

    def tune(self, config: TuneConfig) -> None:
        """Search a family's settings; the best trials may join a vote."""
        self._search = search = Search(config, self)
        search.run()
        self._benched |= {trial.name for trial in search.best[config.voters :]}

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self._data.y("train"))

    @property
    def seed(self) -> int:
        """What draws are drawn from."""
        return self._data.seed

    def decide(self, key: str, make: Callable[[], Any]) -> Any:
        """Record a decision, once, and replay it."""
        return self._decide(key, make)

    def attempt(self, name: str, choice: Choice, share: float, seconds_left: float) -> Result | Refusal:
        """A trial of a tuning, on a share of the training rows; with all of them it is a candidate like any other."""
        if share not in self._parts:
            self._parts[share] = with_share(self._data, share)
        data, whole = self._parts[share], share == 1.0
        members = self._members() if family_of(choice).votes else []
        inputs = planned(data, choice, members)
        if isinstance(inputs, Refusal):
            return inputs
        spec = Spec(name if whole else f"{name} on {named(share)}", choice)
        try:
            candidate = self._train(spec, inputs, members, data, lambda: seconds_left)
        except DataError as error:
            return Refusal(error.message)
        if whole:
            self.done.append(candidate)
        return Result(candidate.loss, candidate.facts["seconds"])

    def row(self, name: str, choice: Choice, status: str, result: Result | None, reason: str) -> None:
        """A trial's row of the leaderboard."""
        loss, seconds = (None, None) if result is None else (result.loss, result.seconds)
        self._row(Spec(name, choice), status, loss, seconds, reason)

    def refit(self, chosen: Candidate) -> Candidate:
        """The chosen candidate, fitted again on training and validation rows; a vote's members before it."""
        if self._whole is None:
            self._whole = self._data.with_validation()
        whole, spec = self._whole, chosen.spec
        voters = [self.refit(c) for c in self.done if c.spec.name in chosen.facts["voters"]]
        inputs = inputs_of(voters) if voters else planned(whole, spec.choice, ())
        assert isinstance(inputs, Inputs), inputs

        def make(folder: Path) -> None:
            limits = Limits(self._config.threads, math.inf)
            progress = lambda what, share: self._watch.step(f"{spec.name} again: {what}", share)  # noqa: E731
            train_candidate(folder, spec, whole, inputs, voters, limits, self._decide, progress)

        self._watch.step(f"{spec.name} again", 0.0)
        return read_candidate(self._keep(f"refit:{_key(spec, voters)}", make), spec, inputs)

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

    def report(self, chosen: Candidate, final: Candidate) -> dict[str, Any]:
        """The leaderboard and what was chosen, as JSON; `final` is what is released."""
        return {
            "chosen": chosen.spec.name,
            "loss": "mean squared error" if self._data.head.kind == "real" else "log loss",
            "leaderboard": self._rows,
            "tuning": None if self._search is None else self._search.report(),
            "refit": final is not chosen,
            "parity": final.facts["parity"],
            "time_budget_s": self._config.time_budget_s,
            "rows": {split: len(self._data.y(split)) for split in ("train", "valid")},
        }


def _key(spec: Spec, members: Sequence[Candidate]) -> str:
    """Names a candidate within its training run: what it is, and what it combines."""
    return ":".join([spec.name, canonical(spec.choice.identity()).decode(), *(m.spec.name for m in members)])
