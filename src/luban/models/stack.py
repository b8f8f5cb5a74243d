"""A stack of finished models: a weighted sum of calibrated log-odds a class, learnt on rows that they never saw.

Source: Wolpert 1992, "Stacked Generalization"; Breiman 1996, "Stacked Regressions", for weights that are not
negative. Decided here: outputs are first brought to one scale, each by its own temperature; weights are drawn
towards those of the plain mean, not towards nothing, so that few rows give a mean; each class has weights of its
own. Members that end with no weight are left out of the graph. With one validation split the weights
would be judged by the rows that they were learnt from, so folds are needed. It knows no family.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from luban.catalog import need, searchable
from luban.features.kinds import Arrays, Want
from luban.models.base import Family, FitContext, Fitted, Member
from luban.models.vote import temperature
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

NOTHING = 0.01
"""A member with no larger weight for any class is left out."""


class FittedStack(Fitted):
    """Members with their factors [members, n] (weight over temperature) and a bias [n]. `notes` tells the weights."""

    def __init__(self, members: Sequence[Member], weights: np.ndarray, factors: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.members = tuple(members)
        self.weights = weights
        self.factors = factors.astype(np.float32)
        self.bias = bias.astype(np.float32)
        means = weights.mean(axis=1)
        self.notes = ", ".join(f"{m.name} {w:.2f}" for m, w in zip(self.members, means, strict=True))

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float64."""
        total = np.asarray(self.bias, np.float64)
        for member, factor in zip(self.members, self.factors, strict=True):
            total = total + factor * np.asarray(member.model.predict(arrays), np.float64)
        return total

    def export(self, graph: GraphBuilder) -> str:
        """All members in one graph; what they read is shared."""
        total = ""
        for member, factor in zip(self.members, self.factors, strict=True):
            term = graph.node("Mul", [member.model.export(graph), graph.constant(factor)])
            total = graph.node("Add", [total, term]) if total else term
        return graph.node("Add", [total, graph.constant(self.bias)])

    def checkpoint(self) -> dict[str, np.ndarray]:
        """`weights` and `factors` [members, n], `bias` [n]."""
        return {"weights": self.weights, "factors": self.factors, "bias": self.bias}


class Stack(Family):
    """A regularised linear model over the outputs of finished models."""

    extra: ClassVar[str] = "train"
    heads: ClassVar[tuple[str, ...]] = ("binary", "softmax", "real")
    votes: ClassVar[bool] = True
    needs_folds: ClassVar[bool] = True

    class Config(Family.Config):
        """How members are weighed."""

        penalty_rows: float = searchable(10.0, 1.0, 1000.0, log=True, gt=0)
        """Strength of the pull towards the plain mean: a weight that is off by 1 costs as much as the best member's
        loss on so many rows."""
        negative: bool = searchable(False)
        """Let weights be negative: a member may be held against another."""
        max_members: int = searchable(5, 2, 8, ge=2)
        """The best so many models: each is asked for every row that is served."""

    def wants(self, head: Head) -> Sequence[Want]:
        """Nothing of its own."""
        return ()

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """Learn weights on validation rows; training rows are not looked at."""
        found = context.decide("weights", lambda: self._learn(context))
        by_name = {member.name: member for member in context.members}
        members = [by_name[name] for name in found["members"]]
        weights, factors = np.array(found["weights"]), np.array(found["factors"])
        return FittedStack(members, weights, factors, np.array(found["bias"]))

    def _learn(self, context: FitContext) -> dict[str, Any]:
        """Members, weights, factors and bias: a decision, so that refitted members keep theirs."""
        y = context.y_valid
        temperatures = [temperature(m.valid_outputs, y, context.head) for m in context.members]
        outputs = [np.asarray(member.valid_outputs, np.float64) for member in context.members]
        scaled = [z / t for z, t in zip(outputs, temperatures, strict=True)]
        losses = [context.loss(z, y) for z in scaled]
        order = sorted(range(len(scaled)), key=lambda i: losses[i])[: self.config.max_members]
        weights, bias = self._solve(np.stack([scaled[i] for i in order]), y, context.head)
        kept = np.flatnonzero(np.abs(weights).max(axis=1) > NOTHING)
        if 0 < len(kept) < len(order):
            order = [order[i] for i in kept.tolist()]
            weights, bias = self._solve(np.stack([scaled[i] for i in order]), y, context.head)
        return {
            "members": [context.members[i].name for i in order],
            "weights": weights.tolist(),
            "factors": [(row / temperatures[i]).tolist() for i, row in zip(order, weights, strict=True)],
            "bias": bias.tolist(),
        }

    def _solve(self, z_mbn: np.ndarray, y: np.ndarray, head: Head) -> tuple[np.ndarray, np.ndarray]:
        """Weights [members, n] and bias [n] of least penalised loss."""
        members, rows, width = z_mbn.shape
        start = np.full((members, width), 1 / members)
        best = min(_loss(z_bn, y, head)[0] for z_bn in z_mbn)
        strength = self.config.penalty_rows * max(best, 1e-6) / max(rows, 1)

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights, bias = flat[:-width].reshape(members, width), flat[-width:]
            loss, slope_bn = _loss(np.einsum("mbn,mn->bn", z_mbn, weights) + bias, y, head)
            off = weights - start
            value = loss + strength * (float((off**2).sum()) + float((bias**2).sum()))
            slope = np.einsum("mbn,bn->mn", z_mbn, slope_bn) + 2 * strength * off
            return value, np.append(slope.ravel(), slope_bn.sum(axis=0) + 2 * strength * bias)

        low = None if self.config.negative else 0.0
        found = need("scipy.optimize", "train").minimize(
            objective,
            np.append(start.ravel(), np.zeros(width)),
            jac=True,
            method="L-BFGS-B",
            bounds=[(low, None)] * start.size + [(None, None)] * width,
            options={"maxiter": 500, "ftol": 1e-10},
        )
        flat = np.round(found.x, 9)
        return flat[:-width].reshape(members, width), flat[-width:]


def _loss(z_bn: np.ndarray, y: np.ndarray, head: Head) -> tuple[float, np.ndarray]:
    """Mean loss over rows, and its slope [B, n]: log loss of one of n, of each of n, or half the squared error."""
    rows = max(len(y), 1)
    if head.kind == "softmax":
        shifted = z_bn - z_bn.max(axis=1, keepdims=True)
        odds = np.exp(shifted)
        total = odds.sum(axis=1, keepdims=True)
        at = (np.arange(len(y)), y.astype(np.int64))
        slope = odds / total
        loss = float((np.log(total[:, 0]) - shifted[at]).sum()) / rows
        slope[at] -= 1
        return loss, slope / rows
    y_bn = np.asarray(y, np.float64).reshape(len(z_bn), -1)
    if head.kind == "binary":
        loss = float((np.logaddexp(0, z_bn) - y_bn * z_bn).sum()) / rows
        return loss, (0.5 * (1 + np.tanh(z_bn / 2)) - y_bn) / rows
    off = z_bn - y_bn
    return float((off**2).sum()) / (2 * rows), off / rows
