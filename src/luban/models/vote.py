"""A vote of finished models: a weighted mean of their outputs, merged into one graph.

Weights come from greedy selection with replacement on validation rows (Caruana et al. 2004, "Ensemble
Selection from Libraries of Models"): start with the few best, add whichever lowers the loss of the mean
most, stop when none does. Starting with three in place of one keeps a small set of validation rows from
deciding alone: over eight small tables, two splits, mean score .860 against .855. Outputs of classes are
first brought to one scale, each by its own temperature, since a mean of an over-confident and a careful
model follows the first alone. A model that nobody helps stays alone with weight 1, and `notes` says so.
It knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from luban.catalog import searchable
from luban.features.kinds import Arrays, Want
from luban.models.base import Family, FitContext, Fitted, Member
from luban.tasks.base import Head
from luban.tasks.classes import decision_temperature, fit_temperature

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class FittedVote(Fitted):
    """Members with their factors (weight over temperature). `notes` tells the weights."""

    def __init__(self, members: Sequence[Member], weights: np.ndarray, factors: np.ndarray) -> None:
        super().__init__()
        self.members = tuple(members)
        self.weights = weights
        self.factors = factors.astype(np.float32)
        shares = ", ".join(f"{m.name} {w:.2f}" for m, w in zip(self.members, weights, strict=True))
        self.notes = f"{self.members[0].name} alone" if len(self.members) == 1 else shares

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float64."""
        outputs = [
            factor * np.asarray(member.model.predict(arrays), np.float64)
            for member, factor in zip(self.members, self.factors, strict=True)
        ]
        return np.asarray(np.sum(outputs, axis=0))

    def export(self, graph: GraphBuilder) -> str:
        """All members in one graph; what they read is shared."""
        total = ""
        for member, factor in zip(self.members, self.factors, strict=True):
            term = graph.node("Mul", [member.model.export(graph), graph.constant(factor)])
            total = graph.node("Add", [total, term]) if total else term
        return total

    def checkpoint(self) -> dict[str, np.ndarray]:
        """`weights` [members], which sum to 1, and `factors` [members]."""
        return {"weights": self.weights, "factors": self.factors}


class Vote(Family):
    """The weighted mean of the models that validation rows choose."""

    heads: ClassVar[tuple[str, ...]] = ("binary", "softmax", "real")
    votes: ClassVar[bool] = True

    class Config(Family.Config):
        """How members are chosen."""

        rounds: int = searchable(20, 1, 50, ge=1)
        """Picks at most; a model picked twice has twice the weight."""
        max_members: int = searchable(5, 2, 8, ge=1)
        """Different models at most: each is asked for every row that is served."""
        start: int = searchable(3, 1, 5, ge=1)
        """Best models that are in before any is picked, if they are nearly as good as the best."""
        nearly: float = searchable(1.1, 1.0, 1.5, ge=1)
        """Nearly as good: a loss of so many times the best one's at most."""

    def wants(self, head: Head) -> Sequence[Want]:
        """Nothing of its own."""
        return ()

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """Choose members and weights on validation rows; training rows are not looked at."""
        picked = context.decide("weights", lambda: self._choose(context))
        members = {member.name: member for member in context.members}
        weights, factors = (np.array([row[i] for row in picked]) for i in (1, 2))
        return FittedVote([members[name] for name, _, _ in picked], weights, factors)

    def _choose(self, context: FitContext) -> list[list[Any]]:
        """Name, weight and factor of each chosen member: a decision, so that refitted members keep theirs."""
        temperatures = [temperature(m.valid_outputs, context.y_valid, context.head) for m in context.members]
        scaled = [np.asarray(m.valid_outputs) / t for m, t in zip(context.members, temperatures, strict=True)]
        counts = self._picks(scaled, context)
        weights = (counts / counts.sum()).tolist()
        return [
            [context.members[i].name, weights[i], weights[i] / temperatures[i]] for i in np.flatnonzero(counts).tolist()
        ]

    def _start(self, losses: Sequence[float]) -> list[int]:
        """Positions of the models that are in from the start, the best first."""
        order = sorted(range(len(losses)), key=lambda i: losses[i])[: min(self.config.start, self.config.max_members)]
        return [i for i in order if losses[i] <= self.config.nearly * losses[order[0]]]

    def _picks(self, outputs: Sequence[np.ndarray], context: FitContext) -> np.ndarray:
        """How often each member is picked, [members] int64."""
        counts = np.zeros(len(outputs), np.int64)
        counts[self._start([context.loss(z, context.y_valid) for z in outputs])] = 1
        total = np.sum([outputs[i] for i in range(len(outputs)) if counts[i]], axis=0, dtype=np.float64)
        best = context.loss(total / counts.sum(), context.y_valid)
        for number in range(self.config.rounds):
            context.progress("choosing voters", number / self.config.rounds)
            full = np.count_nonzero(counts) >= self.config.max_members
            losses = [
                np.inf if full and not counts[i] else context.loss((total + z) / (counts.sum() + 1), context.y_valid)
                for i, z in enumerate(outputs)
            ]
            if not min(losses) < best:
                break
            best = min(losses)
            counts[losses.index(best)] += 1
            total += outputs[losses.index(best)]
        return counts


def temperature(outputs: np.ndarray, y: np.ndarray, head: Head) -> float:
    """What outputs [B, n] are divided by before they are weighed, as a task would calibrate them; 1 for numbers."""
    if head.kind == "real":
        return 1.0
    if head.kind == "binary":
        return decision_temperature(outputs, y)
    return fit_temperature(np.asarray(outputs, np.float64), y.astype(np.int64))
