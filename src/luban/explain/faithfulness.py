"""Explanations measured: do the parts that a method names matter, and does it look at the model at all?

Two checks, both for attribution methods:

- *deletion and insertion* (Petsiuk, Das and Saenko, "RISE", 2018): parts are taken away, the weightiest first, or put
  back into an empty row in that order; the mean of the output along the way is compared with that of random orders.
  A faithful order falls faster and rises faster, so both advantages are above 0;
- *random model* (Adebayo et al., "Sanity Checks for Saliency Maps", 2018): the same rows are explained for the same
  graph with shuffled weights. An explanation that stays alike shows the input, not the model: the rank correlation
  of the shares must be low.

Intervals are 95 % percentile bootstraps over rows. Decided here: rows with fewer than three parts say nothing about an
order and are left out; the unit is that of the explained quantity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from luban.explain.attribution import Attribution
from luban.explain.base import Block, Case, Explainer, Finding, Grid, Json
from luban.explain.question import Question

LEAST_PARTS = 3
RESAMPLES = 1000
MOST_STEPS = 12
"""Points along the way at which a long row is asked."""


@dataclass(frozen=True)
class Score:
    """A mean over rows with its interval; all None where no row could be measured."""

    value: float | None
    low: float | None
    high: float | None
    num_rows: int

    @classmethod
    def of(cls, rows: Sequence[float]) -> Score:
        """Mean and bootstrap interval."""
        if not len(rows):
            return cls(None, None, None, 0)
        values = np.asarray(rows, np.float64)
        drawn = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
        low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975]).tolist()
        return cls(float(values.mean()), low, high, len(values))


@dataclass(frozen=True, eq=False)
class Faithfulness(Finding):
    """How faithful a method is to a bundle. `beats_chance`: both advantages' intervals are above 0;
    `sees_the_model`: the interval of `random_model` is below 0.5."""

    method: str
    row: None
    unit: str
    deletion: Score
    insertion: Score
    random_model: Score

    @property
    def beats_chance(self) -> bool | None:
        """None where nothing could be measured."""
        if self.deletion.low is None or self.insertion.low is None:
            return None
        return self.deletion.low > 0 and self.insertion.low > 0

    @property
    def sees_the_model(self) -> bool | None:
        """None where nothing could be measured."""
        return None if self.random_model.high is None else self.random_model.high < 0.5

    def to_json(self) -> Json:
        """Scores with intervals, and the two verdicts."""
        scores = {name: vars(getattr(self, name)) for name in ("deletion", "insertion", "random_model")}
        verdicts = {"beats_chance": self.beats_chance, "sees_the_model": self.sees_the_model}
        return {"method": self.method, "row": None, "unit": self.unit, **scores, **verdicts}

    def blocks(self) -> Sequence[Block]:
        """A table."""
        scores = {"deletion": self.deletion, "insertion": self.insertion, "random_model": self.random_model}
        cells = tuple((name, _interval(score), _figure(score.value)) for name, score in scores.items())
        return (Grid(("check", "interval", "score"), cells),)


def faithfulness(
    explainer: Explainer, case: Case, orders: int = 8, findings: Sequence[Finding] | None = None
) -> Faithfulness:
    """Measure an attribution method on the rows of a case, against so many random orders a row.

    `findings` are its explanations of the case, if they are there already.
    """
    found = findings if findings is not None else explainer.explain(case)
    pairs = [
        (question, finding)
        for question, finding in zip(case.questions(explainer.kind), found, strict=True)
        if isinstance(question, Question) and isinstance(finding, Attribution) and len(finding.shares) >= LEAST_PARTS
    ]
    curves = [_advantages(question, finding, orders, case.seed) for question, finding in pairs]
    return Faithfulness(
        method=explainer.kind,
        row=None,
        unit=pairs[0][1].unit if pairs else "",
        deletion=Score.of([deletion for deletion, _ in curves]),
        insertion=Score.of([insertion for _, insertion in curves]),
        random_model=Score.of(_likeness(explainer, case, [finding for _, finding in pairs])),
    )


def _advantages(question: Question, finding: Attribution, orders: int, seed: int) -> tuple[float, float]:
    """How much lower the output is on average while parts are taken away in the method's order than in
    random ones, and how much higher while they are put back."""
    groups = [np.array([question.groups[s.column][i] for i in s.numbers]) for s in finding.shares]
    count = len(groups)
    rng = np.random.default_rng([seed, count])
    own = np.argsort([-share.value for share in finding.shares], kind="stable")
    ranks = np.stack([own, *(rng.permutation(count) for _ in range(orders))]).argsort(axis=1)
    steps = np.unique(np.linspace(1, count - 1, min(count - 1, MOST_STEPS)).round()).astype(np.int64)
    added = ranks[:, None, :] < steps[None, :, None]  # [orders, steps, parts]: the first of the order are in
    kept = np.concatenate([~added, added]).reshape(-1, count)
    worth = question.ask_groups(kept, groups).reshape(2, orders + 1, len(steps)).mean(axis=2)
    (deleted, *random_deleted), (inserted, *random_inserted) = worth.tolist()
    return float(np.mean(random_deleted)) - deleted, inserted - float(np.mean(random_inserted))


def _likeness(explainer: Explainer, case: Case, findings: Sequence[Attribution]) -> list[float]:
    """Rank correlation, row by row, of the shares with those of the model with shuffled weights."""
    found = []
    for finding in findings:
        assert finding.row is not None
        one = case.some(np.array([finding.row]))
        for other in explainer.explain_random(replace(one, asked=finding.explains_class)):
            if isinstance(other, Attribution):
                found.append(_rank_correlation(_by_part(finding), _by_part(other)))
    return [value for value in found if value == value]


def _by_part(finding: Attribution) -> dict[tuple[str, int], float]:
    """A share for each part: those of a run have the run's, divided among them."""
    return {(s.column, i): s.value / len(s.numbers) for s in finding.shares for i in s.numbers}


def _rank_correlation(first: dict[tuple[str, int], float], second: dict[tuple[str, int], float]) -> float:
    """Spearman's, of absolute shares over the parts that both have; NaN where one has all alike."""
    parts = [part for part in first if part in second]
    a, b = (_ranks(np.abs([shares[part] for part in parts])) for shares in (first, second))
    if len(parts) < LEAST_PARTS or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks [N], equal values sharing their mean."""
    _, inverse, counts = np.unique(np.round(values, 9), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse])


def _interval(score: Score) -> str:
    return "" if score.low is None else f"{score.low:.3f} … {score.high:.3f}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
