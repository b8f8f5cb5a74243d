"""A surrogate: a small tree or linear model that imitates the bundle, and how well it does.

(Craven and Shavlik, "Extracting Tree-Structured Representations of Trained Networks", 1996.) It reads columns as people
do: numbers as they are, times by their calendar, everything else by which words, values or tags are there. Decided
here: it learns the bundle's answers on most of the rows, and its fidelity is measured on the rest: agreement with the
bundle's answers beside that of always giving the commonest one, or R² of values. A surrogate of low fidelity says
nothing about the bundle. Its words are taken from rows, so a finding is personal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from luban.catalog import need
from luban.errors import DataError
from luban.explain.base import Block, Case, Explainer, Finding, Grid, Json, Sentence
from luban.explain.quantity import VALUE
from luban.explain.sample import Sample

HELD = 0.3
"""Share of rows that fidelity is measured on."""
LEAST_ROWS = 20
HAS, LACKS = " ∋ ", " ∌ "


@dataclass(frozen=True)
class Rule:
    """A leaf of the tree: conditions, the answer there, and the share of rows that end there; or, of a
    linear model, one input and its weight, by deviation of the input."""

    conditions: tuple[str, ...]
    answer: str
    share: float | None
    weight: float | None = None


@dataclass(frozen=True, eq=False)
class SurrogateFinding(Finding):
    """The imitating model in words. `fidelity` is agreement or R² on held-out rows, `chance` what saying the same of
    every row would have."""

    method: str
    row: None
    model: str
    measure: str
    fidelity: float
    chance: float
    num_rows: int
    explains: str
    rules: tuple[Rule, ...]

    @property
    def personal(self) -> bool:
        """It names words of rows."""
        return True

    def to_json(self) -> Json:
        """`rules` as `conditions`, `answer`, `share`, `weight`."""
        return {**vars(self), "rules": [{**vars(r), "conditions": list(r.conditions)} for r in self.rules]}

    def blocks(self) -> Sequence[Block]:
        """Fidelity in a sentence, rules in a table."""
        about = {"fidelity": f"{self.fidelity:.3f}", "chance": f"{self.chance:.3f}", "rows": self.num_rows}
        sentence = Sentence(f"surrogate_{self.measure}", about)
        if self.model == "tree":
            cells = tuple((" · ".join(r.conditions) or "—", f"{r.share or 0:.0%}", r.answer) for r in self.rules)
            return (sentence, Grid(("question", "share", "answer"), cells))
        inputs = tuple((rule.conditions[0], f"{rule.weight:+.3f}") for rule in self.rules)
        weights = tuple(float(np.sign(rule.weight or 0)) for rule in self.rules)
        table = Grid(("part", "effect"), inputs, weights)
        return (sentence, Sentence("linear_for", {"explains": self.explains}), table)


class Surrogate(Explainer):
    """A small model that imitates the bundle, with its fidelity."""

    extra: ClassVar[str] = "train"
    explains = "model"

    class Config(Explainer.Config):
        """What imitates."""

        model: Literal["tree", "linear"] = "tree"
        """tree: a few questions; linear: weights of what is there."""
        leaves: int = Field(8, ge=2, le=64)
        """tree: leaves at most."""
        terms: int = Field(200, ge=1, le=5000)
        """Words or values of a column that it may ask for: those in most rows."""
        min_rows: int = Field(5, ge=1)
        """Rows that such a word must be in."""
        max_rows: int = Field(2000, ge=20)
        """Rows that it learns from."""

    def explain(self, case: Case) -> Sequence[Finding]:
        """One finding, about the model. Raises DataError for fewer rows than it could learn from."""
        sample = Sample(case, self.config.max_rows)
        if len(sample) < 4:
            raise DataError(
                f"A surrogate learns from rows, but only {len(sample)} have an answer.", f"Give {LEAST_ROWS} or more."
            )
        x, names = readable(sample, self.config.terms, self.config.min_rows)
        outputs = sample.run()
        quantity = sample.quantity
        order = np.random.default_rng(case.seed).permutation(len(sample))
        held, train = order[: max(1, int(HELD * len(order)))], order[max(1, int(HELD * len(order))) :]
        imitated: np.ndarray
        if quantity.unit == VALUE:
            imitated, measure = quantity.one(outputs, 0), "r2"
        else:
            imitated, measure = quantity.answered(outputs), "agreement"
        number = quantity.number(case.asked)
        shown = int(np.bincount(imitated[train].astype(np.int64)).argmax()) if number is None else number
        model = self._fitted(x[train], imitated[train], measure, case.seed)
        fidelity, chance = _fidelity(model.predict(x[held]), imitated[held], imitated[train], measure)
        rules = self._rules(model, names, quantity.names, measure, shown, len(train), x[train])
        return [
            SurrogateFinding(
                method=self.kind,
                row=None,
                model=self.config.model,
                measure=measure,
                fidelity=fidelity,
                chance=chance,
                num_rows=len(sample),
                explains=quantity.names[shown],
                rules=tuple(rules),
            )
        ]

    def _fitted(self, x: np.ndarray, y: np.ndarray, measure: str, seed: int) -> Any:
        if self.config.model == "tree":
            trees = need("sklearn.tree", "train")
            made = trees.DecisionTreeRegressor if measure == "r2" else trees.DecisionTreeClassifier
            return made(max_leaf_nodes=self.config.leaves, min_samples_leaf=2, random_state=seed).fit(x, y)
        scaler = need("sklearn.preprocessing", "train").StandardScaler()
        linear = need("sklearn.linear_model", "train")
        if measure == "agreement" and len(np.unique(y)) < 2:
            inner = need("sklearn.dummy", "train").DummyClassifier()
        else:
            inner = linear.Ridge() if measure == "r2" else linear.LogisticRegression(max_iter=500, C=0.1)
        return need("sklearn.pipeline", "train").make_pipeline(scaler, inner).fit(x, y)

    def _rules(
        self, model: Any, names: list[str], answers: Sequence[str], measure: str, shown: int, count: int, x: np.ndarray
    ) -> list[Rule]:
        if self.config.model == "tree":
            return list(_leaves(model, names, answers, measure, count))
        inner = model[-1]
        weights = np.zeros(len(names))
        if hasattr(inner, "coef_"):
            coefficients = np.atleast_2d(inner.coef_)
            if measure == "r2":
                weights = coefficients[0]
            elif shown in inner.classes_.tolist():
                at = inner.classes_.tolist().index(shown)
                weights = coefficients[at] if len(coefficients) > 1 else coefficients[0] * (1 if at else -1)
        top = np.argsort(-np.abs(weights), kind="stable")[:20]
        return [Rule((names[i],), "", None, float(weights[i])) for i in top.tolist() if weights[i]]


def readable(sample: Sample, terms: int, min_rows: int) -> tuple[np.ndarray, list[str]]:
    """Columns as people read them: a matrix [B, D] float64 and the name of each of its columns."""
    columns: list[np.ndarray] = []
    names: list[str] = []
    features = sample.bundle.preprocess.features
    for column in sample.columns:
        values, feature = sample.values[column], features[column]
        known = [value for value in values if value is not None]
        if not all(isinstance(value, (str, list)) for value in known):
            for name, figures in feature.signals(values).items():
                middle = float(np.nanmedian(figures)) if np.isfinite(figures).any() else 0.0
                columns.append(np.nan_to_num(figures, nan=middle))
                names.append(column if name == "value" else f"{column} ({name})")
            continue
        parts = [{part.lower() for part in feature.parts(value).names} for value in values]
        counts = Counter(part for row in parts for part in row)
        common = sorted((p for p, n in counts.items() if n >= min_rows), key=lambda p: (-counts[p], p))[:terms]
        for part in common:
            columns.append(np.array([part in row for row in parts], np.float64))
            names.append(f"{column}{HAS}{part}")
    return (np.stack(columns, axis=1) if columns else np.zeros((len(sample), 1))), names or ["—"]


def _fidelity(found: np.ndarray, held: np.ndarray, train: np.ndarray, measure: str) -> tuple[float, float]:
    """Agreement or R² on held-out rows, and that of the best constant."""
    if measure == "agreement":
        commonest = Counter(train.tolist()).most_common(1)[0][0]
        return float(np.mean(found == held)), float(np.mean(held == commonest))
    spread = float(np.sum((held - train.mean()) ** 2))
    return 1 - float(np.sum((held - found) ** 2)) / spread if spread else 0.0, 0.0


def _leaves(model: Any, names: list[str], answers: Sequence[str], measure: str, count: int) -> list[Rule]:
    """The leaves of a tree as rules, the most frequented first."""
    tree = model.tree_
    found: list[Rule] = []
    stack: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while stack:
        node, conditions = stack.pop()
        if tree.children_left[node] < 0:
            value = tree.value[node].ravel()
            answer = f"{value[0]:.4g}" if measure == "r2" else answers[int(model.classes_[int(value.argmax())])]
            found.append(Rule(conditions, answer, float(tree.n_node_samples[node]) / count))
            continue
        name, threshold = names[tree.feature[node]], float(tree.threshold[node])
        below, above = (
            (name.replace(HAS, LACKS), name)
            if HAS in name
            else (f"{name} ≤ {threshold:.4g}", f"{name} > {threshold:.4g}")
        )
        stack += [
            (int(tree.children_right[node]), (*conditions, above)),
            (int(tree.children_left[node]), (*conditions, below)),
        ]
    return sorted(found, key=lambda rule: -(rule.share or 0))
