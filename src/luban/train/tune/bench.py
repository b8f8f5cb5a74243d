"""Trials on a training run: how a search trains candidates, and what it may use of the run.

Decided here: a trial on all rows is trained the way of the run (one split, or folds) and joins its candidates; one on
a share of the rows is one fit on the run's ground, judged on its validation rows. Arrays that trials encoded in ways of
their own are let go of when they grow large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from luban.catalog import Choice
from luban.models.base import Refusal
from luban.train.candidate import Candidate, Spec
from luban.train.encode import TrainData
from luban.train.tune.halving import named, with_share
from luban.train.tune.search import Result
from luban.train.way import Tools, Way, attempt, fit, key_of

MOST_BYTES = 1 << 30
"""Arrays that are kept for the next trial."""


class Run(Protocol):
    """What a search needs of the training run that it is a part of."""

    @property
    def done(self) -> list[Candidate]:
        """Finished candidates, to which trials are added."""
        ...

    def members(self) -> Sequence[Candidate]:
        """Who may join a vote."""
        ...

    def put(self, spec: Spec, status: str, loss: float | None, seconds: float | None, reason: str) -> None:
        """A row of the leaderboard."""
        ...


class Trials:
    """The bench of one search (`search.Bench`)."""

    def __init__(self, run: Run, way: Way, tools: Tools) -> None:
        self._run, self._way, self._tools = run, way, tools
        self._parts: dict[float, TrainData] = {}

    @property
    def num_rows(self) -> int:
        """Training rows."""
        return len(self._way.ground.y("train"))

    @property
    def seed(self) -> int:
        """What draws are drawn from."""
        return self._way.data.seed

    def decide(self, key: str, make: Callable[[], Any]) -> Any:
        """Record a decision, once, and replay it."""
        return self._tools.decide(key, make)

    def attempt(self, name: str, choice: Choice, share: float, seconds_left: float) -> Result | Refusal:
        """A trial on a share of the training rows; with all of them it is a candidate like any other."""
        members = self._run.members()
        if refusal := self._way.refuses(choice, members):
            return refusal
        self._make_room()
        spec = Spec(name if share == 1.0 else f"{name} on {named(share)}", choice)
        whole = lambda: self._way.train(spec, members, lambda: seconds_left)  # noqa: E731
        part = lambda: self._partly(spec, share, lambda: seconds_left)  # noqa: E731
        candidate = attempt(self._tools, spec.name, whole if share == 1.0 else part)
        if isinstance(candidate, Refusal):
            return candidate
        if share == 1.0:
            self._run.done.append(candidate)
        return Result(candidate.loss, candidate.facts["seconds"], candidate.facts["notes"])

    def _partly(self, spec: Spec, share: float, seconds: Callable[[], float]) -> Candidate:
        """A fit on a share of the training rows."""
        if share not in self._parts:
            self._parts[share] = with_share(self._way.ground, share)
        return fit(self._tools, key_of(spec), spec, self._parts[share], (), seconds)

    def _make_room(self) -> None:
        held = [self._way.ground, *self._parts.values()]
        if sum(data.held_bytes for data in held) > MOST_BYTES:
            for data in held:
                data.forget()

    def row(self, name: str, choice: Choice, status: str, result: Result | None, reason: str) -> None:
        """A trial's row of the leaderboard."""
        loss, seconds = (None, None) if result is None else (result.loss, result.seconds)
        self._run.put(Spec(name, choice), status, loss, seconds, reason)
