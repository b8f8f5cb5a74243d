"""The errors to read: rows on which a model is most surely wrong, and labels that are probably wrong.

Suspected labels follow confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", 2021): a row is suspected where a class other than its label reaches the mean
probability that rows labelled so are given, and the model answers that class; ranked by how far the label's
probability lies below. Decided here: what is shown are rows' own values, so it stands in a file of its own, which a
bundle lists as personal; values are masked and cut. It judges test rows, which the model never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from luban.data.binary import data_uri
from luban.evaluate.masking import shown
from luban.evaluate.records import DECIMALS, Record
from luban.evaluate.scored import KNOWS_ANSWERS, KNOWS_LABELS, KNOWS_VALUES, Scored

Fetch = Callable[[np.ndarray], list[dict[str, Any]]]
"""Rows at positions [n], ascending and distinct: input columns by name, and `row_id` under ROW."""
Picture = Callable[[str, Any], bytes | None]
"""A column's name and a value as a small picture, None where it is to be read and not to be looked at."""
ROW = "_row_id"


class WrongRow(Record):
    """One row, what it says and what was answered."""

    row_id: str
    inputs: dict[str, str | None]
    """Input columns, masked and cut to 300 characters."""
    pictures: dict[str, str] = Field(default_factory=dict)
    """Those of the inputs that are to be looked at, small, as data URIs."""
    truth: str
    answer: str
    confidence: float | None
    """Of the answer; null for a number."""
    truth_confidence: float | None
    """The probability that the model gives the truth; null for a number and for several tags."""
    error: float | None
    """Answer minus truth, of a number."""


class Errors(Record):
    """Rows to be read by a person who knows what is right. Personal: never to be published."""

    num_rows: int
    num_wrong: int | None
    """Test rows answered wrongly; null for numbers, which are never quite right."""
    worst: tuple[WrongRow, ...]
    """Surest of what is wrong first; of numbers the largest errors."""
    num_suspects: int | None
    """Rows whose label is probably wrong; null where the task has no single label a row."""
    suspects: tuple[WrongRow, ...]
    """The most suspect labels first."""
    method: str


METHOD = (
    "Worst: wrong answers by falling confidence. Suspects: confident learning (Northcutt et al. 2021) on test rows. "
    "E-mail addresses, telephone, identity and card numbers are masked by simple patterns; names are not."
)


def errors(
    rows: Scored, labels: Sequence[str], count: int, fetch: Fetch, picture: Picture = lambda name, value: None
) -> Errors:
    """At most `count` (at least 1) worst and as many suspect rows."""
    worst, num_wrong = _worst(rows, count)
    suspects = suspected(rows) if KNOWS_LABELS in rows.has else np.zeros(0, np.int64)
    chosen = np.unique(np.concatenate([worst, suspects[:count]]))
    found = dict(zip(chosen.tolist(), fetch(chosen), strict=True))
    told = {at: _row(rows, at, labels, found[at], picture) for at in found}
    return Errors(
        num_rows=len(rows),
        num_wrong=num_wrong,
        worst=tuple(told[at] for at in worst.tolist()),
        num_suspects=len(suspects) if KNOWS_LABELS in rows.has else None,
        suspects=tuple(told[at] for at in suspects[:count].tolist()),
        method=METHOD,
    )


def _worst(rows: Scored, count: int) -> tuple[np.ndarray, int | None]:
    """Positions [n] of the worst rows, and how many are wrong."""
    if KNOWS_ANSWERS in rows.has:
        wrong = np.flatnonzero(~rows.right)
        return wrong[np.argsort(-rows.confidence[wrong], kind="stable")][:count], len(wrong)
    if KNOWS_VALUES in rows.has:
        order = np.argsort(-np.abs(rows.residual), kind="stable")[:count]
        return order[rows.residual[order] != 0], None
    return np.zeros(0, np.int64), None


def suspected(rows: Scored) -> np.ndarray:
    """Positions [n] of rows whose label is probably wrong, the most suspect first."""
    every = np.arange(len(rows))
    given = rows.probability[every, rows.truth]
    counts = np.bincount(rows.truth, minlength=rows.num_classes)
    sums = np.bincount(rows.truth, given, rows.num_classes)
    # a class that no row is labelled with has no mean to reach
    usual = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    best = rows.probability.argmax(axis=1)
    top = rows.probability[every, best]
    doubted = np.flatnonzero((best != rows.truth) & (top >= usual[best]))
    return doubted[np.argsort((given - top)[doubted], kind="stable")]


def _row(rows: Scored, at: int, labels: Sequence[str], values: dict[str, Any], picture: Picture) -> WrongRow:
    row_id = str(values.pop(ROW))
    inputs = {name: shown(value) for name, value in values.items()}
    small = {name: picture(name, value) for name, value in values.items()}
    pictures = {name: data_uri(data) for name, data in small.items() if data is not None}
    if KNOWS_VALUES in rows.has:
        truth, answer = (f"{float(side[at]):.6g}" for side in (rows.truth, rows.value))
        error = round(float(rows.residual[at]), DECIMALS)
        return WrongRow(
            row_id=row_id,
            inputs=inputs,
            pictures=pictures,
            truth=truth,
            answer=answer,
            confidence=None,
            truth_confidence=None,
            error=error,
        )
    truth, answer = (_said(side[at], labels) for side in (rows.truth, rows.predicted))
    probability = float(rows.probability[at, rows.truth[at]]) if rows.tags is None else None
    return WrongRow(
        row_id=row_id,
        inputs=inputs,
        pictures=pictures,
        truth=truth,
        answer=answer,
        confidence=round(float(rows.confidence[at]), DECIMALS),
        truth_confidence=None if probability is None else round(probability, DECIMALS),
        error=None,
    )


def _said(side: Any, labels: Sequence[str]) -> str:
    """A class, or the tags of a row [n], in words."""
    if np.ndim(side):
        return ", ".join(labels[number] for number in np.flatnonzero(side).tolist()) or "–"
    return labels[int(side)]
