"""The verb `train`: candidates in order, within the budget, on a leaderboard; the best becomes a bundle.

Decided here: a candidate is chosen by its loss on validation rows after calibration; ties go to the
earlier one. The baseline is always first. One that cannot be trained on these data is refused with the reason, and
the others go on. Whether a candidate is started is a decision, recorded
before it is acted on; so a resumed run tries what the first one would have tried. Names no family.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from luban.catalog import TASKS, Choice
from luban.data.dataset import Dataset
from luban.errors import DataError
from luban.models.base import Refusal
from luban.tasks.base import Task
from luban.train.again import Again, study
from luban.train.candidate import Candidate, Spec
from luban.train.folded import Folded
from luban.train.imbalance import check, favour
from luban.train.specs import family_of, specs
from luban.train.tune.bench import Trials
from luban.train.tune.config import TuneConfig
from luban.train.tune.search import Search
from luban.train.way import OneSplit, Tools, Way, attempt
from luban.train.write import Facts, Final, write, write_judged

LEAST_SHARE = 0.1
"""Of the budget: what a candidate that was started may use even if less is left."""


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
        else [(name, TASKS.make(name)) for name in TASKS.own() if TASKS.resolve(name).automatic]
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
    return len(set(map(str, dataset.values(column, "train")))) if counts is None else len(counts)


def train(
    dataset: Dataset,
    task: Task,
    tools: Tools,
    facts: Facts,
    seed: int,
    out: Path,
    tune: TuneConfig | None = None,
) -> dict[str, Any]:
    """Train candidates and write into `out`: `bundle/`, `outputs.safetensors`, `checkpoint.safetensors`,
    `training.json`, after a refit `judged/`. Returns the training report. `tune`: a search whose trials are
    candidates too.
    """
    config = tools.config
    way: Way = OneSplit(dataset, task, seed, tools)
    if config.folds is not None:
        way = Folded(dataset, task, seed, config.folds, tools)
    check(config.imbalance, task, way.data.y("train"), way.data.head)
    trial = _Trial(way, tools)
    listed = specs(config, way.data)
    votes = [spec for spec in listed if family_of(spec.choice).votes]
    steps: list[Spec | TuneConfig] = [*listed, *([] if tune is None else [tune])]
    for step in sorted(steps, key=lambda step: step in votes):
        trial.tune(step) if isinstance(step, TuneConfig) else trial.run(step)
    chosen = trial.best()
    decoding = task.calibrate(way.data.target_encoder, chosen.valid, way.truth)
    decoding = favour(config.imbalance, task, decoding, way.data.y("train"), way.data.head)
    final, baseline = way.final(chosen, trial.done), way.baseline(trial.baseline)
    report = trial.report(chosen, final)
    written = Final(final, decoding, baseline.test, chosen.valid, way.truth)
    write(out, way.written, facts, written, report)
    if final is not chosen and len(way.ground.y("valid")):
        judged = replace(written, candidate=Again(way, tools, chosen, trial.done).whole)
        write_judged(out, way.written, way.ground, facts, judged)
    return report


class _Trial:
    """The state of one training run: what was tried, how long it took, what came out."""

    def __init__(self, way: Way, tools: Tools) -> None:
        self._way, self._tools, self._config = way, tools, tools.config
        self._rows: list[dict[str, Any]] = []
        self._spent = 0.0
        self._benched: set[str] = set()
        self._search: Search | None = None
        self.done: list[Candidate] = []
        self.baseline: Candidate

    def run(self, spec: Spec) -> None:
        """Train `spec` if it can be made and the budget allows; put it on the leaderboard."""
        if spec.skip:
            self.put(spec, "skipped", reason=spec.skip)
            return
        members = self.members()
        if refusal := self._way.refuses(spec.choice, members):
            self.put(spec, "refused", reason=refusal.reason)
            return
        go = self._tools.decide(f"start:{spec.name}", lambda: self._may_start(spec))
        if go is not True:
            self.put(spec, "skipped", reason=str(go))
            return
        began = time.monotonic()
        candidate = self._trained(spec, members)
        if isinstance(candidate, Refusal):
            self._spent += time.monotonic() - began
            self.put(spec, "refused", reason=candidate.reason)
            return
        seconds = candidate.facts["seconds"]
        # What a run that was killed left costs what it cost then: resuming brings no second budget.
        self._spent += max(time.monotonic() - began, seconds)
        if not self.done:
            self.baseline = candidate
        self.done.append(candidate)
        self.put(spec, "trained", loss=candidate.loss, seconds=seconds, reason=candidate.facts["notes"])

    def _trained(self, spec: Spec, members: Sequence[Candidate]) -> Candidate | Refusal:
        """The candidate, or why it could not be trained; a baseline that fails ends the run."""
        budget = self._config.time_budget_s

        def make() -> Candidate:
            return self._way.train(spec, members, lambda: max(budget - self._spent, LEAST_SHARE * budget))

        return attempt(self._tools, spec.name, make) if self.done else make()

    def members(self) -> list[Candidate]:
        """Who may join a vote: all that is finished but the baseline, votes and the lesser trials of a tuning."""
        able = [c for c in self.done if c is not self.baseline and not family_of(c.spec.choice).votes]
        return [c for c in able if c.spec.name not in self._benched]

    def tune(self, config: TuneConfig) -> None:
        """Search a family's settings; the best trials may join a vote."""
        self._search = search = Search(config, Trials(self, self._way, self._tools))
        search.run()
        self._benched |= {trial.name for trial in search.best[config.voters :]}

    def _may_start(self, spec: Spec) -> bool | str:
        if not self.done or family_of(spec.choice).votes:
            return True
        tried = len(self.done) - 1
        if self._config.max_candidates is not None and tried >= self._config.max_candidates:
            return f"max_candidates ({self._config.max_candidates}) reached"
        if tried and self._spent >= self._config.time_budget_s:
            return f"time_budget_s ({self._config.time_budget_s:g}) spent"
        return True

    def put(
        self, spec: Spec, status: str, loss: float | None = None, seconds: float | None = None, reason: str = ""
    ) -> None:
        """A row of the leaderboard."""
        row = {
            "name": spec.name,
            "family": spec.choice.kind,
            "config": spec.choice.config.identity(),
            "status": status,
            "loss": loss,
            "spread": next((c.facts.get("spread") for c in self.done if c.spec.name == spec.name), None),
            "seconds": seconds,
            "reason": reason,
        }
        self._rows.append(row)
        self._tools.watch.candidate(row)

    def best(self) -> Candidate:
        """The candidate of least loss; the baseline only where nothing else could be trained."""
        others = [c for c in self.done if c is not self.baseline]
        if not others:
            reasons = "; ".join(f"{row['name']}: {row['reason']}" for row in self._rows[1:])
            raise DataError(f"No model could be trained. {reasons}.", "Name other families in `train.models`.")
        return min(others, key=lambda c: c.loss)

    def report(self, chosen: Candidate, final: Candidate) -> dict[str, Any]:
        """The leaderboard and what was chosen, as JSON; `final` is what is released."""
        folds = self._way.report()
        left = self._config.time_budget_s - self._spent
        return {
            **study(self._way, self._tools, chosen, self.done, left),
            "chosen": chosen.spec.name,
            "loss": "mean squared error" if self._way.data.head.kind == "real" else "log loss",
            "leaderboard": self._rows,
            "curves": {c.spec.name: c.facts["curve"] for c in self.done if c.facts.get("curve")},
            "tuning": None if self._search is None else self._search.report(),
            "refit": final is not chosen and (folds is None or folds["final"] == "refit"),
            "folds": folds,
            "parity": final.facts["parity"],
            "time_budget_s": self._config.time_budget_s,
            "rows": {split: len(self._way.data.y(split)) for split in ("train", "valid")},
        }
