"""Slices: how groups of test rows fare against the rest, with a correction for looking at many.

A slice is a set of test rows; `cutting` makes them from columns, this module judges them. Decided here: the
figure is a mean of one number a row (right or wrong; absolute error), so that thousands of slices of a
million rows take seconds; a slice needs `least_rows`; every slice that was looked at counts in the correction
(Benjamini and Hochberg's false discovery rate), shown or not, but the same rows only once. It guesses no
protected group: what is to be compared is named in `evaluate.slices`, or all inputs are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from luban.evaluate.cutting import Cut
from luban.evaluate.findings import Slice, Slices
from luban.evaluate.intervals import Compared, Means, false_discovery
from luban.evaluate.records import DECIMALS
from luban.evaluate.scored import KNOWS_ANSWERS, KNOWS_LABELS, KNOWS_VALUES, Scored

MAX_SLICES = 100


def row_figure(rows: Scored) -> tuple[str, np.ndarray, bool] | None:
    """What a slice's figure is a mean of: its name, [B] float64, and whether higher is better; None if nothing."""
    if KNOWS_ANSWERS in rows.has:
        name = "accuracy" if KNOWS_LABELS in rows.has else "subset_accuracy"
        return name, rows.right.astype(np.float64), True
    if KNOWS_VALUES in rows.has:
        return "mae", np.abs(rows.residual), False
    return None


def slices(
    rows: Scored, cuts: Iterable[Cut], least_rows: int, level: float, clusters: np.ndarray | None = None
) -> Slices | None:
    """The worst slices among `cuts`; None where the answers have no figure a row.

    `clusters` [B] name rows that hang together, which intervals and tests then respect.
    """
    found = row_figure(rows)
    if found is None:
        return None
    name, figure, higher = found
    shares = KNOWS_ANSWERS in rows.has
    means = Means(figure, shares, level, clusters)
    judged: list[tuple[Cut, int, Compared]] = []
    num_small, seen = 0, set()
    for cut in cuts:
        if len(cut.rows) < least_rows:
            num_small += 1
        elif len(cut.rows) < len(rows) and (same := _name(cut.rows)) not in seen:
            seen.add(same)
            judged.append((cut, len(cut.rows), means.compare(cut.rows)))
    listed = _listed(judged, higher, 1 - level)
    return Slices(
        figure=name,
        higher_is_better=higher,
        value=round(float(figure.mean()), DECIMALS),
        level=level,
        least_rows=least_rows,
        num_looked_at=len(judged),
        num_small=num_small,
        num_worse=sum(one.significant and (one.difference or 0) < 0 for one in listed),
        slices=tuple(listed[:MAX_SLICES]),
        method=_method(clusters is not None, shares),
        reason=None if judged else f"no part of the test rows has {least_rows} rows or more and leaves others",
    )


def _name(rows: np.ndarray) -> bytes:
    """The same for the same rows: columns often cut alike, and what is the same slice is looked at once."""
    return hashlib.blake2b(np.sort(rows).astype(np.int64).tobytes(), digest_size=16).digest()


def _listed(judged: list[tuple[Cut, int, Compared]], higher: bool, rate: float) -> list[Slice]:
    tested = [number for number, (_, _, found) in enumerate(judged) if found.p_value is not None]
    corrected = false_discovery(np.array([judged[number][2].p_value for number in tested], np.float64))
    q_values = dict(zip(tested, corrected.tolist(), strict=True))
    listed = [
        _slice(cut, num_rows, found, q_values.get(number), higher, rate)
        for number, (cut, num_rows, found) in enumerate(judged)
    ]
    untested = float("inf")
    return sorted(listed, key=lambda one: (untested if one.difference is None else one.difference, one.column, one.by))


def _slice(cut: Cut, num_rows: int, found: Compared, q_value: float | None, higher: bool, rate: float) -> Slice:
    difference, low, high = found.difference, found.difference_low, found.difference_high
    if not higher and difference is not None and low is not None and high is not None:
        difference, low, high = -difference, -high, -low
    return Slice(
        column=cut.column,
        by=cut.by,
        label=cut.label,
        num_rows=num_rows,
        value=found.value,
        low=found.low,
        high=found.high,
        difference=difference,
        difference_low=low,
        difference_high=high,
        p_value=found.p_value,
        q_value=None if q_value is None else round(q_value, DECIMALS),
        significant=q_value is not None and q_value <= rate,
        reason=found.reason,
    )


def _method(clustered: bool, shares: bool) -> str:
    if clustered:
        test = "cluster-robust t-test (Liang and Zeger 1986)"
    elif shares:
        test = "Fisher's exact test; intervals by Wilson and Newcombe"
    else:
        test = "Welch's t-test"
    return (
        f"Each slice against all other rows: {test}. q: false discovery rate over all slices that were looked at "
        "(Benjamini and Hochberg 1995)."
    )
