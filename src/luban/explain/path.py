"""The way of a row through an ensemble of trees: what was asked of it, in the columns' own units.

Exact, and read from the graph alone. Decided here: hundreds of trees are told by two things. `limits` are, for each
column, the nearest thresholds on the row's ways through all trees: as long as every value stays within its limits,
the row goes the same ways and the output is the same to the last bit. `trees` are the few whose leaf is furthest from
the mean of their leaves, with the questions that led there, merged by column. For bundles whose graph is trees alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from luban.bundle.bundle import Bundle
from luban.explain.base import Block, Case, Explainer, Finding, Grid, Json, Sentence, Unexplained
from luban.explain.counterfactual import first
from luban.explain.question import Question
from luban.explain.trees_of import Trees, trees_of
from luban.features.kinds import pad


@dataclass(frozen=True)
class Limit:
    """Above which (`low`) and up to which (`high`) an input may move; None: as far as it likes, or it is missing."""

    name: str
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low:.6g} < "
        high = "" if self.high is None else f" ≤ {self.high:.6g}"
        return f"{low}{self.name}{high}" if self.value is not None else f"{self.name}: —"


@dataclass(frozen=True)
class TreeWay:
    """One tree: its number, what it adds, how far that is from the mean of its leaves, and the questions."""

    tree: int
    adds: float
    differs: float
    limits: tuple[Limit, ...]


@dataclass(frozen=True, eq=False)
class Way(Finding):
    """The way of one row: `limits` over all trees, and the few `trees` that differ most."""

    method: str
    row: int | None
    explains: str
    num_trees: int
    limits: tuple[Limit, ...]
    trees: tuple[TreeWay, ...]
    answer: Json

    def to_json(self) -> Json:
        """`limits` with `name`, `value`, `low`, `high`."""
        trees = [{**vars(tree), "limits": [vars(limit) for limit in tree.limits]} for tree in self.trees]
        limits = [vars(limit) for limit in self.limits]
        return {**vars(self), "limits": limits, "trees": trees}

    def blocks(self) -> Sequence[Block]:
        """Limits, then trees."""
        limits = tuple((one.name, *map(_figure, (one.low, one.value, one.high))) for one in self.limits)
        trees = tuple((str(t.tree + 1), ", ".join(map(str, t.limits)), f"{t.differs:+.4f}") for t in self.trees)
        weights = tuple(float(np.sign(tree.differs)) for tree in self.trees)
        return (
            Sentence("limits", {"answer": first(self.answer), "trees": self.num_trees}),
            Grid(("column", "above", "value", "up_to"), limits),
            Sentence("trees", {"shown": len(self.trees), "explains": self.explains}),
            Grid(("tree", "question", "differs"), trees, weights),
        )


class DecisionPath(Explainer):
    """The questions that trees ask of a row, and how far its values may move before any answer changes."""

    class Config(Explainer.Config):
        """How much is told."""

        trees: int = Field(3, ge=0, le=100)
        """Trees that are told one by one."""

    def supports(self, bundle: Bundle, checkpoint: Path | None) -> str | None:
        """Bundles whose graph is trees alone."""
        found = trees_of(bundle)
        return found if isinstance(found, str) else None

    def explain(self, case: Case) -> Sequence[Finding]:
        """A finding a row."""
        trees = trees_of(case.bundle)
        assert not isinstance(trees, str), trees
        return [q if isinstance(q, Unexplained) else self._one(q, trees) for q in case.questions(self.kind)]

    def _one(self, question: Question, trees: Trees) -> Way:
        x = _inputs_of(question, trees)
        ways = [_walk(trees, int(root), x) for root in trees.roots]
        spec = question.bundle.manifest.task
        output = question.number if spec.width > 1 else 0
        sign = -1.0 if spec.width == 1 and len(question.quantity.names) == 2 and question.number == 0 else 1.0
        told = []
        for number, way in enumerate(ways):
            leaf = way[-1]
            if trees.target[leaf] == output:
                differs = sign * (trees.weight[leaf] - _mean_leaf(trees, int(trees.roots[number])))
                told.append(TreeWay(number, sign * float(trees.weight[leaf]), float(differs), _limits(trees, way, x)))
        told.sort(key=lambda tree: -abs(tree.differs))
        return Way(
            method=self.kind,
            row=question.row,
            explains=question.explains,
            num_trees=len(trees.roots),
            limits=_limits(trees, [node for way in ways for node in way], x),
            trees=tuple(told[: self.config.trees]),
            answer=question.answer(),
        )


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _inputs_of(question: Question, trees: Trees) -> np.ndarray:
    """What the trees are given for the whole row, [D] float64."""
    import onnxruntime as ort

    bundle = question.bundle
    arrays = pad(bundle.encode({name: [value] for name, value in question.values.items()}))
    session = ort.InferenceSession(trees.graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {value.name: arrays[value.name] for value in session.get_inputs()})
    return np.asarray(found[0], np.float64)


def _walk(trees: Trees, node: int, x: np.ndarray) -> list[int]:
    """Nodes from a root to a leaf."""
    way = [node]
    while trees.left[node] >= 0:
        value = x[trees.feature[node]]
        left = trees.missing_left[node] if np.isnan(value) else value <= trees.threshold[node]
        node = int(trees.left[node] if left else trees.right[node])
        way.append(node)
    return way


def _limits(trees: Trees, nodes: Sequence[int], x: np.ndarray) -> tuple[Limit, ...]:
    """The nearest thresholds on both sides of each input that these nodes ask about, in the order of inputs."""
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    asked = sorted({int(trees.feature[node]) for node in nodes if trees.left[node] >= 0})
    for node in nodes:
        feature, threshold = int(trees.feature[node]), float(trees.threshold[node])
        if trees.left[node] < 0 or np.isnan(x[feature]) or not np.isfinite(threshold):
            continue
        if x[feature] <= threshold:
            high[feature] = min(high.get(feature, np.inf), threshold)
        else:
            low[feature] = max(low.get(feature, -np.inf), threshold)
    return tuple(
        Limit(trees.inputs[i].name, None if np.isnan(x[i]) else float(x[i]), low.get(i), high.get(i)) for i in asked
    )


def _mean_leaf(trees: Trees, root: int) -> float:
    """The plain mean of a tree's leaves."""
    stack, leaves = [root], []
    while stack:
        node = stack.pop()
        if trees.left[node] < 0:
            leaves.append(trees.weight[node])
        else:
            stack += [int(trees.left[node]), int(trees.right[node])]
    return float(np.mean(leaves))
