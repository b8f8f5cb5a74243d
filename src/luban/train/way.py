"""How candidates are trained and judged: on one validation split here, on folds in `folded`.

Decided here: whatever the way, one fit is `fit`, kept under its key, so that a run that was killed goes on after the
last one. Names no family and no task.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from luban.catalog import Choice, canonical
from luban.data.dataset import Dataset
from luban.errors import DataError
from luban.features.kinds import Arrays
from luban.models.base import Refusal, Unfinished
from luban.tasks.base import Task
from luban.train.candidate import (
    Candidate,
    Decide,
    Limits,
    Spec,
    inputs_of,
    planned,
    read_candidate,
    train_candidate,
)
from luban.train.config import TrainConfig
from luban.train.encode import TrainData
from luban.train.specs import family_of


class Keep(Protocol):
    """Runs `make(folder)` once for `key` and gives the folder that it filled, now and ever after."""

    def __call__(self, key: str, make: Callable[[Path], None]) -> Path:
        """The folder of `key`."""
        ...

    def unfinished(self, key: str) -> Unfinished:
        """Where `make` keeps what it has so far, for the next process if this one is killed."""
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
class Tools:
    """What every fit of a training run works with."""

    config: TrainConfig
    keep: Keep
    decide: Decide
    watch: Watch

    def kept(self, key: str, make: Callable[[], Arrays]) -> Arrays:
        """Arrays that are kept under a key within this training run, made once."""
        from safetensors.numpy import load_file, save_file

        file = "arrays.safetensors"
        folder = self.keep(key, lambda folder: save_file(make(), folder / file))
        found: Arrays = load_file(folder / file)
        return found


def fit(
    tools: Tools,
    key: str,
    spec: Spec,
    data: TrainData,
    members: Sequence[Candidate] = (),
    seconds: Callable[[], float] = lambda: math.inf,
    label: str = "",
    decide: Decide | None = None,
) -> Candidate:
    """`spec` trained on `data`, or read back if it is kept under `key`.

    `label` is what is shown while it trains; `decide` stands in for the recorded decisions of a first fit.
    """
    label = label or spec.name
    tools.watch.step(label, 0.0)
    inputs = inputs_of(members) if members else planned(data, spec.choice, members)
    assert not isinstance(inputs, Refusal), inputs

    def make(folder: Path) -> None:
        limits = Limits(tools.config.threads, seconds(), tools.keep.unfinished(key))
        progress = lambda what, share: tools.watch.step(f"{label}: {what}", share)  # noqa: E731
        train_candidate(folder, spec, data, inputs, members, limits, decide or tools.decide, progress)

    return read_candidate(tools.keep(key, make), spec, inputs)


def attempt(tools: Tools, name: str, make: Callable[[], Candidate]) -> Candidate | Refusal:
    """What `make` trains, or why these data do not let it be trained (DataError).

    Which of both is a decision, as memory and clock have a say in it: a run that was killed does not try again.
    """
    made: list[Candidate] = []

    def failed() -> str:
        try:
            made.append(make())
        except DataError as error:
            return error.message
        return ""

    reason = str(tools.decide(f"failed:{name}", failed))
    if reason:
        return Refusal(reason)
    return made[0] if made else make()


def key_of(spec: Spec, members: Sequence[Candidate] = ()) -> str:
    """Names a candidate within its training run: what it is, and what it combines."""
    return ":".join([spec.name, canonical(spec.choice.identity()).decode(), *(m.spec.name for m in members)])


def refit(tools: Tools, chosen: Candidate, voters: Sequence[Candidate], whole: TrainData) -> Candidate:
    """The chosen candidate fitted again on `whole`, with what its first fits decided; a vote of finished `voters`."""
    label = f"{chosen.spec.name} again"
    key = f"refit:{key_of(chosen.spec, voters)}"
    return fit(tools, key, chosen.spec, whole, voters, label=label, decide=following(tools.decide, chosen))


def following(decide: Decide, chosen: Candidate) -> Decide:
    """Decisions of a refit: those that were made for it, of folds the middle one, recorded like any other."""
    name = chosen.spec.name
    made = {f"{name}:{key}": value for key, value in middle([part.facts for part in chosen.folds]).items()}

    def decided(key: str, make: Callable[[], Any]) -> Any:
        return decide(key, (lambda: made[key]) if key in made else make)

    return decided


def middle(folds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """For each decision of the folds (facts of their candidates) the median, rounded for whole numbers; of what is no
    number, that of the fold of median loss.

    >>> middle([{"loss": 2, "decisions": {"rounds": 9}}, {"loss": 1, "decisions": {"rounds": 4}}])
    {'rounds': 6}
    """
    if not folds:
        return {}
    typical = sorted(folds, key=lambda facts: float(facts["loss"]))[(len(folds) - 1) // 2]["decisions"]
    found: dict[str, Any] = {}
    for key, value in typical.items():
        values = [facts["decisions"][key] for facts in folds if key in facts["decisions"]]
        if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            found[key] = int(np.median(values))
        elif all(isinstance(v, float) for v in values):
            found[key] = float(np.median(values))
        else:
            found[key] = value
    return found


def voters_of(chosen: Candidate, done: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that a vote combines; none for others."""
    return [candidate for candidate in done if candidate.spec.name in chosen.facts["voters"]]


def teachable(data: TrainData) -> bool:
    """Whether training rows show more than one thing, so that a family can learn from them."""
    y = data.y("train")
    return data.head.kind == "real" or len(np.unique(y, axis=0)) > 1


class Way(ABC):
    """How candidates are trained, what they are chosen on, and what is released of the one that is chosen.

    `data` has the rows that candidates learn from; `truth` [B] or [B, n] is the target of the rows that
    `Candidate.valid` answers.
    """

    data: TrainData
    truth: np.ndarray

    def refuses(self, choice: Choice, members: Sequence[Candidate]) -> Refusal | None:
        """Why a candidate cannot be made here, or None."""
        found = planned(self.data, choice, members)
        return found if isinstance(found, Refusal) else None

    def report(self) -> dict[str, Any] | None:
        """What the training report says of folds; None where there are none."""
        return None

    @abstractmethod
    def train(self, spec: Spec, members: Sequence[Candidate], seconds: Callable[[], float]) -> Candidate:
        """A candidate; `seconds` says how long it may take from when it is asked."""

    @abstractmethod
    def final(self, chosen: Candidate, done: Sequence[Candidate]) -> Candidate:
        """What is released of a chosen candidate: with a graph, and outputs on test rows."""

    def baseline(self, trained: Candidate) -> Candidate:
        """The baseline, with outputs on test rows."""
        return trained

    @property
    def ground(self) -> TrainData:
        """Training and validation rows for fits that only compare."""
        return self.data

    @property
    def written(self) -> TrainData:
        """The data that the bundle's examples are taken from."""
        return self.data


class OneSplit(Way):
    """Learn from training rows, choose on validation rows, fit the chosen again on both."""

    def __init__(self, dataset: Dataset, task: Task, seed: int, tools: Tools) -> None:
        self.data = TrainData(dataset, task, seed, kept=tools.kept, imbalance=tools.config.imbalance)
        self.truth = self.data.y("valid")
        self._tools = tools
        self._whole: TrainData | None = None

    def refuses(self, choice: Choice, members: Sequence[Candidate]) -> Refusal | None:
        """As for all, and where outputs on rows that no member saw are needed."""
        if family_of(choice).needs_folds:
            return Refusal("it learns from outputs on rows that its members never saw: set `train.folds`")
        return super().refuses(choice, members)

    def train(self, spec: Spec, members: Sequence[Candidate], seconds: Callable[[], float]) -> Candidate:
        """One fit. Only votes read the members."""
        members = members if family_of(spec.choice).votes else ()
        return fit(self._tools, key_of(spec, members), spec, self.data, members, seconds)

    def final(self, chosen: Candidate, done: Sequence[Candidate]) -> Candidate:
        """The chosen candidate, fitted again on training and validation rows; a vote's members before it."""
        if not self._tools.config.refit:
            return chosen
        if self._whole is None:
            self._whole = self.data.with_validation()
        return refit(self._tools, chosen, [self.final(c, done) for c in voters_of(chosen, done)], self._whole)
