"""Importance of columns by permutation: what is lost when a column's values are dealt out anew among the rows.

(Breiman, "Random Forests", 2001; Fisher, Rudin and Dominici, "All Models are Wrong, but Many are Useful", 2019.) Where
the truth is known it is the task's loss that grows, else how far the answers move. Rows that the model has learnt
flatter the columns that it learnt them by: see `unseen`. Decided here: the interval is of
the mean over repeats, by a t distribution; it says how much chance is in the dealing, not how other rows would differ.
Columns that stand in for one another each seem to matter little: the model can read the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from luban.explain.base import Block, Case, Explainer, Finding, Grid, Json, Sentence
from luban.explain.sample import Sample

_T975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Quantiles of Student's t with n - 1 degrees of freedom, by n repeats; 2.2 for more."""


@dataclass(frozen=True)
class ColumnImportance:
    """A column, what is lost without it, and the interval of that."""

    column: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Importance(Finding):
    """Columns by importance, the most important first; `measure` is `loss` or `change`."""

    method: str
    row: None
    measure: str
    whole: float
    columns: tuple[ColumnImportance, ...]
    num_rows: int
    repeats: int

    def to_json(self) -> Json:
        """`columns` have `value`, `low`, `high`; `whole` is the loss with all columns as they are."""
        columns = [vars(column) for column in self.columns]
        return {**{name: value for name, value in vars(self).items() if name != "columns"}, "columns": columns}

    def blocks(self) -> Sequence[Block]:
        """A sentence and a table."""
        largest = max((abs(column.value) for column in self.columns), default=0.0) or 1.0
        cells = tuple((c.column, f"{c.low:.4g} … {c.high:.4g}", f"{c.value:.4g}") for c in self.columns)
        weights = tuple(c.value / largest for c in self.columns)
        about = Sentence(f"importance_{self.measure}", {"rows": self.num_rows, "whole": f"{self.whole:.4g}"})
        return (about, Grid(("column", "interval", "importance"), cells, weights))


class Permutation(Explainer):
    """How much worse answers get when a column's values are shuffled among rows."""

    explains = "model"
    measures = True

    class Config(Explainer.Config):
        """How much is asked."""

        repeats: int = Field(5, ge=2, le=100)
        """How often each column is shuffled."""
        max_rows: int = Field(500, ge=2)
        """Rows that are asked; more are drawn from."""

    def explain(self, case: Case) -> Sequence[Finding]:
        """One finding, about the model. Where fewer than two rows have an answer, no column is named."""
        sample = Sample(case, self.config.max_rows)
        whole = sample.run()
        measured = sample.loss(whole) if sample.truth is not None and len(sample) else 0.0
        found = [self._column(sample, whole, measured, column, case.seed) for column in sample.columns]
        found.sort(key=lambda column: -column.value)
        return [
            Importance(
                method=self.kind,
                row=None,
                measure="change" if sample.truth is None else "loss",
                whole=measured,
                columns=tuple(found) if len(sample) > 1 else (),
                num_rows=len(sample),
                repeats=self.config.repeats,
            )
        ]

    def _column(self, sample: Sample, whole: np.ndarray, measured: float, column: str, seed: int) -> ColumnImportance:
        repeats, losses = self.config.repeats, []
        for repeat in range(repeats):
            order = np.random.default_rng([seed, repeat]).permutation(len(sample))
            outputs = sample.run({column: order})
            if sample.truth is not None:
                losses.append(sample.loss(outputs) - measured)
            else:
                moved = np.abs(sample.quantity.all(outputs) - sample.quantity.all(whole))
                losses.append(float(moved.mean()) if moved.size else 0.0)
        mean = float(np.mean(losses))
        half = _T975.get(repeats, 2.2) * float(np.std(losses, ddof=1)) / repeats**0.5
        return ColumnImportance(column, mean, mean - half, mean + half)
