"""The search: ask, train, tell, until trials or time are spent.

Decided here:

- a trial is a candidate like any other, `linear#3`: kept when it is finished, on the leaderboard, chosen by the
  same loss; what is tried on a share of the rows is kept too;
- what is asked next is a decision, recorded before it is acted on, as is that time was spent; so a tuning
  that was killed asks the same and comes to the same;
- a trial whose settings cannot be used is on the leaderboard with the reason, and the search goes on.

It trains nothing itself and knows no family: the training run gives it a `Bench`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import yaml
from pydantic import ValidationError

from luban.catalog import FAMILIES, Choice
from luban.models.base import Refusal
from luban.train.tune.config import TuneConfig
from luban.train.tune.halving import goes_on, named, rungs
from luban.train.tune.sampler import Told, ask
from luban.train.tune.space import Values, as_yaml, shown, with_values

LEAST_SHARE = 0.1
"""Of the budget: what a trial that was started may use even if less is left."""


@dataclass(frozen=True)
class Result:
    """What a fit came to: loss on validation rows, seconds (now or when it was kept), a note of its own."""

    loss: float
    seconds: float
    note: str = ""


class Bench(Protocol):
    """What the search asks of the training run."""

    @property
    def num_rows(self) -> int:
        """Training rows."""
        ...

    @property
    def seed(self) -> int:
        """What draws are drawn from."""
        ...

    def attempt(self, name: str, choice: Choice, share: float, seconds_left: float) -> Result | Refusal:
        """Train a candidate on a share of the training rows; with all of them it joins the run's candidates."""
        ...

    def decide(self, key: str, make: Callable[[], Any]) -> Any:
        """Record a decision, once, and replay it."""
        ...

    def row(self, name: str, choice: Choice, status: str, result: Result | None, reason: str) -> None:
        """Put a trial on the leaderboard."""
        ...


@dataclass(frozen=True)
class Trial:
    """One trial as the report has it."""

    name: str
    status: str
    values: Values
    loss: float | None
    rungs: tuple[float, ...]
    seconds: float


class Search:
    """One tuning. Used once."""

    def __init__(self, config: TuneConfig, bench: Bench) -> None:
        self._config, self._bench = config, bench
        self.pruner = config.pruner if self._rungs() else "none"
        self._shares = self._rungs() if self.pruner == "halving" else ()
        self._told: list[Told] = []
        self._spent = 0.0
        self.trials: list[Trial] = []
        self.stopped = ""

    def _rungs(self) -> tuple[float, ...]:
        """Shares of the rows to climb by; none for votes, which learn from other candidates' outputs."""
        votes = FAMILIES.resolve(self._config.family.kind).votes
        return () if votes else rungs(self._bench.num_rows)

    def run(self) -> None:
        """All trials."""
        for number in range(1, self._config.trials + 1):
            if number == 2 and self.pruner == "auto":
                self.pruner = self._bench.decide(f"{self._config.family.kind}#:pruner", self._settle)
                self._shares = self._rungs() if self.pruner == "halving" else ()
            name = f"{self._config.family.kind}#{number}"
            asked = self._bench.decide(f"{name}:asked", self._next)
            if "stop" in asked:
                self.stopped = asked["stop"]
                return
            self._try(name, asked["values"])
        self.stopped = f"trials ({self._config.trials}) reached"

    def _settle(self) -> str:
        """Halving where the other trials would not fit into the budget, each as long as the first."""
        left = self._config.time_budget_s - self._spent
        return "halving" if self._spent * (self._config.trials - 1) > left else "none"

    def _next(self) -> dict[str, Any]:
        budget = self._config.time_budget_s
        if self.trials and self._spent >= budget:
            return {"stop": f"time_budget_s ({budget:g}) spent"}
        values = ask(self._config, self._bench.seed, self._told)
        return {"stop": "nothing is left that was not tried"} if values is None else {"values": values}

    def _try(self, name: str, values: Values) -> None:
        """One trial, on growing shares of the rows, to the end or as far as it goes."""
        about = ", ".join(f"{field}={shown(value)}" for field, value in values.items()) or "as stated"
        began = time.monotonic()
        try:
            choice = with_values(self._config.family, values)
        except ValidationError as error:
            reason = f"{about}: {error.errors()[0]['msg']}"
            self._end(name, self._config.family, values, ("refused", reason), None, [], 0.0)
            return
        losses: list[float] = []
        cost = 0.0
        for share in (*self._shares, 1.0):
            left = max(self._config.time_budget_s - self._spent - cost, LEAST_SHARE * self._config.time_budget_s)
            found = self._bench.attempt(name, choice, share, left)
            if isinstance(found, Refusal):
                self._end(name, choice, values, ("refused", f"{about}: {found.reason}"), None, losses, cost)
                return
            # What a tuning that was killed left costs what it cost then: resuming brings no second budget.
            cost = max(cost + found.seconds, time.monotonic() - began)
            if share == 1.0:
                said = f"{about}; {found.note}" if found.note else about
                self._end(name, choice, values, ("trained", said), found, losses, cost)
                return
            others = [one.rungs[len(losses)] for one in self._told if len(one.rungs) > len(losses)]
            losses.append(found.loss)
            if not goes_on(found.loss, others):
                why = (
                    f"{about}: loss {found.loss:.4f} on {named(share)} of the rows, "
                    f"not in the best third of {len(others) + 1}"
                )
                self._end(name, choice, values, ("pruned", why), None, losses, cost)
                return

    def _end(
        self,
        name: str,
        choice: Choice,
        values: Values,
        said: tuple[str, str],
        found: Result | None,
        losses: Sequence[float],
        cost: float,
    ) -> None:
        status, reason = said
        loss = None if found is None else found.loss
        self._spent += cost
        self._told.append(Told(values, loss, tuple(losses)))
        self.trials.append(Trial(name, status, values, loss, tuple(losses), cost))
        self._bench.row(name, choice, status, found, reason)

    @property
    def best(self) -> list[Trial]:
        """Trials that were trained on all rows, the best first; of equals the earlier."""
        return sorted((t for t in self.trials if t.loss is not None), key=lambda t: (t.loss, self.trials.index(t)))

    def report(self) -> dict[str, Any]:
        """What was searched and found, as JSON."""
        best = self.best
        return {
            "family": self._config.family.kind,
            "sampler": self._config.sampler,
            "pruner": self.pruner,
            "space": [str(found) for found in self._config.ranges],
            "stopped": self.stopped,
            "counts": {s: sum(t.status == s for t in self.trials) for s in ("trained", "pruned", "refused")},
            "trials": [
                {"name": t.name, "status": t.status, "values": t.values, "loss": t.loss, "rungs": list(t.rungs)}
                for t in self.trials
            ],
            "best": best[0].name if best else None,
            "best_yaml": self._yaml(best[0].values) if best else None,
        }

    def _yaml(self, values: Values) -> str:
        """The family with these values, as a line for `train.models`."""
        choice = with_values(self._config.family, values)
        flow = yaml.safe_dump(
            as_yaml(choice), default_flow_style=True, sort_keys=False, allow_unicode=True, width=100_000
        )
        return flow.split("\n")[0]
