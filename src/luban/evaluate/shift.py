"""Shifted data: a bundle on rows of another file, beside what it reached on its own test rows.

Everything goes the way of prediction: row steps, parsing, encoding, stages. Labels, where the file has them, are read
by the target's own type. Decided here: rows without a label, or with one that the model does not know, count in
drift and answers, not in metrics; the two sets of rows are unpaired, so the interval of a difference is put
together from both intervals (Zou and Donner, "Construction of confidence limits about effect measures", 2008).
It keeps nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.data.sources.base import Source
from luban.evaluate.config import EvaluateConfig
from luban.evaluate.drift import Drift, drift
from luban.evaluate.evaluate import MODEL, labels_of, measured, metrics_for
from luban.evaluate.reading import Reading
from luban.evaluate.records import DECIMALS, Estimate, Record
from luban.evaluate.rows import Rows
from luban.evaluate.scored import Scored, scored


class Beside(Record):
    """A metric on the other rows, beside the one on the model's own test rows."""

    before: Estimate | None
    after: Estimate
    difference: float | None = None
    """After minus before, turned so that above zero is better."""
    low: float | None = None
    high: float | None = None
    worse: bool = False
    """The whole interval lies below zero."""
    reason: str | None = None


class AnswerShare(Record):
    """How often a class or tag is answered."""

    label: str
    before: float | None
    after: float


class Shift(Record):
    """What became of a model on another file."""

    source: str
    bundle: str
    num_rows: int
    """Rows read."""
    num_rejected: int
    """Lines that are no row."""
    num_answered: int
    refused: dict[str, int]
    """Rows that got no answer, by the column that could not be read; "" where nothing was there."""
    labelled: bool
    num_labelled: int
    """Rows that metrics stand on."""
    num_learnt: int | None
    """Rows that the model was trained or chosen by, which flatter it; null where those are not at hand."""
    num_unlabelled: int
    num_unknown: int
    """Rows whose label the model does not know or that cannot be read."""
    missing_columns: tuple[str, ...]
    unread_columns: tuple[str, ...]
    first_metric: str
    level: float
    metrics: dict[str, Beside] = {}
    answers: tuple[AnswerShare, ...] = ()
    confidence: float | None = None
    """Mean confidence of the answers."""
    drift: tuple[Drift, ...] = ()
    drift_reason: str | None = None
    method: str


METHOD = (
    "The whole path of the bundle on every row. Intervals by bootstrap as for the test rows; differences are unpaired: "
    "both intervals put together (Zou and Donner 2008). Drift: Kolmogorov-Smirnov or chi-squared with false discovery "
    "rate, how far by the population stability index (some from .1, large from .25)."
)


@dataclass(frozen=True)
class Original:
    """What is known of a bundle's own test: its evaluation as JSON, and rows, where they are at hand."""

    evaluation: Mapping[str, Any] | None = None
    rows: Rows | None = None
    learnt: tuple[Rows, ...] | None = None
    """Training and validation rows, where they are at hand."""


def shift(bundle: Bundle, source: Source, name: str, original: Original, config: EvaluateConfig, seed: int) -> Shift:
    """Measure `bundle` on `source`, called `name`. Raises DataError where it has no row or no input column."""
    read = Reading(bundle, source)
    truth, known = read.truth()
    answered = _answers(bundle, read.outputs)
    metrics: dict[str, Beside] = {}
    aims = bundle.task.aims(bundle.manifest.task.decoding)
    if len(known):
        rows = scored(bundle.task, bundle.manifest.task.decoding, truth, read.outputs[known])
        metrics = _metrics(rows, aims, original.evaluation, config, seed, read.clusters(known))
    drifted: tuple[Drift, ...] = ()
    if original.rows is not None:
        columns = [column for column in bundle.schema.inputs if column.name in read.present]
        drifted = drift(columns, original.rows.read, read.column)
    return Shift(
        source=name,
        bundle=bundle.identity,
        num_rows=read.num_rows,
        num_rejected=read.num_rejected,
        num_answered=len(read.outputs),
        refused=dict(sorted(read.refused.items())),
        labelled=read.labelled,
        num_labelled=len(known),
        num_learnt=None if original.learnt is None else sum(read.num_among(rows) for rows in original.learnt),
        num_unlabelled=read.num_unlabelled,
        num_unknown=len(read.outputs) - len(known) - read.num_unlabelled if read.labelled else 0,
        missing_columns=tuple(c.name for c in bundle.schema.inputs if c.name not in read.present),
        unread_columns=tuple(column for column in read.columns if column not in bundle.schema),
        first_metric=aims[0],
        level=config.level,
        metrics=metrics,
        answers=_shares(bundle, answered, original.evaluation),
        confidence=_confidence(answered),
        drift=drifted,
        drift_reason=None if original.rows is not None else "the rows that the model was tested on are not at hand",
        method=METHOD,
    )


def _answers(bundle: Bundle, outputs: np.ndarray) -> Scored | None:
    """The answers themselves, beside a truth that is not looked at; None where there are none."""
    if not len(outputs):
        return None
    task, decoding = bundle.task, bundle.manifest.task.decoding
    scores = np.asarray(task.scores(outputs, decoding))
    truth = task.answered(scores, decoding).astype(np.int64) if scores.ndim == 2 else scores
    return scored(task, decoding, truth, outputs)


def _confidence(rows: Scored | None) -> float | None:
    return None if rows is None or not rows.num_labels else round(float(rows.confidence.mean()), DECIMALS)


def _shares(bundle: Bundle, rows: Scored | None, evaluation: Mapping[str, Any] | None) -> tuple[AnswerShare, ...]:
    """How often each class or tag is answered, beside how often it was."""
    if rows is None or not rows.num_labels:
        return ()
    predicted = np.asarray(rows.predicted)
    counts = predicted.sum(axis=0) if predicted.ndim == 2 else np.bincount(predicted, minlength=rows.num_labels)
    before = {}
    if evaluation is not None and evaluation["num_rows"]:
        before = {one["label"]: one["predicted"] / evaluation["num_rows"] for one in evaluation["classes"]}
    labels = labels_of(bundle.manifest.task.decoding, rows)
    return tuple(
        AnswerShare(
            label=label,
            before=round(before[label], DECIMALS) if label in before else None,
            after=round(float(count) / len(rows), DECIMALS),
        )
        for label, count in zip(labels, counts.tolist(), strict=True)
    )


def _metrics(
    rows: Scored,
    aims: tuple[str, ...],
    evaluation: Mapping[str, Any] | None,
    config: EvaluateConfig,
    seed: int,
    clusters: np.ndarray | None,
) -> dict[str, Beside]:
    metrics = metrics_for(aims, {MODEL: rows})
    _, estimates = measured({MODEL: rows}, metrics, config, seed, clusters)
    known = {} if evaluation is None else evaluation["metrics"]
    return {name: beside(known.get(name), after) for name, after in estimates[MODEL].items()}


def beside(known: Mapping[str, Any] | None, after: Estimate) -> Beside:
    """An estimate beside the one that was known, as JSON; the rows of the two are others.

    >>> before = {"value": 0.9, "low": 0.88, "high": 0.92, "higher_is_better": True}
    >>> found = beside(before, Estimate(value=0.8, low=0.77, high=0.83, higher_is_better=True))
    >>> found.difference, round(found.low, 3), round(found.high, 3), found.worse
    (-0.1, -0.136, -0.064, True)
    """
    if known is None:
        return Beside(before=None, after=after, reason="the model's own figure is not at hand")
    before = Estimate.model_validate(known)
    if before.value is None or after.value is None:
        return Beside(before=before, after=after, reason=before.reason or after.reason)
    sign = 1 if after.higher_is_better else -1
    difference = after.value - before.value
    if before.low is None or before.high is None or after.low is None or after.high is None:
        reason = before.reason or after.reason or "one of the two has no interval"
        return Beside(before=before, after=after, difference=round(sign * difference, DECIMALS), reason=reason)
    low = difference - float(np.hypot(after.value - after.low, before.high - before.value))
    high = difference + float(np.hypot(after.high - after.value, before.value - before.low))
    low, high = (low, high) if sign > 0 else (-high, -low)
    return Beside(
        before=before,
        after=after,
        difference=round(sign * difference, DECIMALS),
        low=round(low, DECIMALS),
        high=round(high, DECIMALS),
        worse=high < 0,
    )
