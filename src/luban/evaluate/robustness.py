"""Robustness: do answers to test rows change when the same thing comes written otherwise?

Each perturbation is applied to all columns that it fits, through the bundle's whole path, row steps included:
what preparation mends does not change an answer. Then each column is taken away in turn. Decided here: a bounded
sample of test rows, drawn by row id; only rows whose input changed count; figures before and after are paired.
Knows no column type and no task by name.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.evaluate.findings import Perturbed, Robustness
from luban.evaluate.intervals import mean_interval, wilson
from luban.evaluate.perturb import PERTURBATIONS, Perturbation
from luban.evaluate.records import DECIMALS
from luban.evaluate.scored import KNOWS_ANSWERS, Scored, scored
from luban.evaluate.slices import row_figure

MAX_COLUMNS = 50
Row = dict[str, Any]


METHOD = (
    "Test rows drawn by row id; each perturbation changes every column that it fits, drawn by row id too. Share of "
    "answers that change: Wilson's interval; the figure before and after: paired Student's interval, by clusters where "
    "rows hang together. Not corrected for looking at many."
)


@dataclass(frozen=True)
class Sample:
    """Test rows: ids, parsed input values, truth as scores have it, clusters where rows hang together."""

    ids: Sequence[str]
    rows: Sequence[Row]
    truth: np.ndarray
    clusters: np.ndarray | None = None


def robustness(bundle: Bundle, sample: Sample, level: float, seed: int) -> Robustness | None:
    """Every perturbation that fits; None where answers have no figure a row, or there is no row."""
    test = _Test(bundle, sample, level)
    if not sample.rows or row_figure(test.base) is None:
        return None
    features = bundle.preprocess.features
    found = []
    for perturbation in PERTURBATIONS:
        fitting = [name for name, feature in features.items() if perturbation.fits(feature)]
        if fitting:
            rows = [
                _perturbed(perturbation, row, fitting, random.Random(f"{seed}:{row_id}:{perturbation.name}"))
                for row_id, row in zip(sample.ids, sample.rows, strict=True)
            ]
            found.append(test.of(perturbation.name, fitting, rows))
    for name in list(features)[:MAX_COLUMNS] if len(features) > 1 else ():
        found.append(test.of("missing", [name], [{**row, name: None} for row in sample.rows]))
    figure, _, higher = test.figure
    return Robustness(
        figure=figure,
        higher_is_better=higher,
        level=level,
        num_rows=len(sample.rows),
        perturbed=tuple(found),
        method=METHOD,
    )


def _perturbed(perturbation: Perturbation, row: Row, columns: Sequence[str], rng: random.Random) -> Row:
    changed = {name: perturbation.change(row[name], rng) for name in columns if row.get(name) is not None}
    return {**row, **changed}


class _Test:
    """Answers to a sample before anything was changed."""

    def __init__(self, bundle: Bundle, sample: Sample, level: float) -> None:
        self._bundle, self._sample, self._level = bundle, sample, level
        outputs, self._answered = self._outputs(sample.rows)
        self.base = self._scored(outputs, sample.truth)
        figure = row_figure(self.base)
        self.figure = figure if figure is not None else ("", np.zeros(0), True)

    def _outputs(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Outputs [B, n] (zeros where refused) and which rows are answered [B]."""
        values = self._bundle.values(rows)
        outputs = (
            self._bundle.run(self._bundle.encode(values.columns))
            if rows
            else np.zeros((0, self._bundle.manifest.task.width))
        )
        return outputs, np.array([error is None for error in values.errors], bool)

    def _scored(self, outputs: np.ndarray, truth: np.ndarray) -> Scored:
        return scored(self._bundle.task, self._bundle.manifest.task.decoding, truth, outputs)

    def of(self, name: str, columns: Sequence[str], rows: Sequence[Row]) -> Perturbed:
        """The answers to the rows [B] as they were changed."""
        touched = [at for at, (old, new) in enumerate(zip(self._sample.rows, rows, strict=True)) if old != new]
        outputs, answered = self._outputs([rows[at] for at in touched])
        kept = np.array(touched, np.int64)[answered]
        kept = kept[self._answered[kept]]
        answered[answered] = self._answered[np.array(touched, np.int64)[answered]]
        refused = len(touched) - len(kept)
        if not len(kept):
            reason = "it changes no row" if not touched else "no changed row got an answer"
            return _nothing(name, columns, refused, reason)
        after = self._scored(outputs[answered], self._sample.truth[kept])
        return self._compared(name, columns, refused, kept, after)

    def _compared(self, name: str, columns: Sequence[str], refused: int, kept: np.ndarray, after: Scored) -> Perturbed:
        _, figure, higher = self.figure
        now = row_figure(after)
        assert now is not None
        before = self.base.take(kept)
        gains = (now[1] - figure[kept]) * (1 if higher else -1)
        clusters = None
        if self._sample.clusters is not None:
            clusters = np.unique(self._sample.clusters[kept], return_inverse=True)[1]
        low, high = mean_interval(gains, self._level, clusters)
        changed = low_changed = high_changed = moved = None
        if KNOWS_ANSWERS in after.has:
            other = (before.predicted != after.predicted).reshape(len(kept), -1).any(axis=1)
            changed = round(float(other.mean()), DECIMALS)
            low_changed, high_changed = wilson(int(other.sum()), len(kept), self._level)
        else:
            moved = round(float(np.abs(after.value - before.value).mean()), DECIMALS)
        return Perturbed(
            name=name,
            columns=tuple(columns),
            num_rows=len(kept),
            num_refused=refused,
            changed=changed,
            changed_low=low_changed,
            changed_high=high_changed,
            moved=moved,
            before=round(float(figure[kept].mean()), DECIMALS),
            after=round(float(now[1].mean()), DECIMALS),
            difference=round(float(gains.mean()), DECIMALS),
            low=low,
            high=high,
            significant=high is not None and high < 0,
            reason="one row, or rows that all hang together, have no interval" if low is None else None,
        )


def _nothing(name: str, columns: Sequence[str], refused: int, reason: str) -> Perturbed:
    return Perturbed(
        name=name,
        columns=tuple(columns),
        num_rows=0,
        num_refused=refused,
        changed=None,
        changed_low=None,
        changed_high=None,
        moved=None,
        before=None,
        after=None,
        difference=None,
        low=None,
        high=None,
        significant=False,
        reason=reason,
    )
