"""Curves of one model's answers: ROC, precision and recall, error by share answered, residuals.

Sources: coverage and risk: El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification",
2010; its area: Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation", 2019. Decided here: at most
200 points, spread evenly along the curve; rows of equal score come together, so that order among them is
no luck; with many classes and rows, evenly spaced rows stand for all; a regression shows bins of rows,
never single ones. Knows no task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from luban.evaluate.findings import Answered, CoverageRisk, Curve, Curves, Residuals, ValueBin
from luban.evaluate.intervals import wilson
from luban.evaluate.records import DECIMALS
from luban.evaluate.scored import KNOWS_ANSWERS, KNOWS_VALUES, Scored

MAX_POINTS = 200
MAX_SCORES = 2_000_000
"""Rows × classes that are ranked at most."""
NUM_WEAKEST = 5
SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 1.0)
NUM_BINS = 20
NUM_RESIDUAL_BINS = 40
_GRID = np.linspace(0, 1, 101)


def curves(rows: Scored, labels: Sequence[str], level: float) -> Curves:
    """All curves that these answers [B] allow; `labels` are the classes as people read them."""
    if KNOWS_ANSWERS in rows.has:
        roc, pr, num_rows = _rankings(rows, labels)
        reason = None if roc else "the test rows are of one class, so nothing can be ranked"
        return Curves(roc=roc, pr=pr, num_rows=num_rows, coverage_risk=coverage_risk(rows, level), reason=reason)
    if KNOWS_VALUES in rows.has:
        return Curves(num_rows=len(rows), residuals=residuals(rows))
    return Curves(num_rows=len(rows), reason="this task's answers have neither one class nor one value a row")


def _rankings(rows: Scored, labels: Sequence[str]) -> tuple[tuple[Curve, ...], tuple[Curve, ...], int]:
    """ROC and precision-recall curves, and the rows they were taken from."""
    if rows.num_classes == 2:
        found = _Ranking(*rows.one(1))
        return ((found.roc(labels[1]),), (found.pr(labels[1]),), len(rows)) if found.defined else ((), (), len(rows))
    count = max(1, min(len(rows), MAX_SCORES // rows.num_labels))
    if count < len(rows):
        rows = rows.take(np.linspace(0, len(rows) - 1, count).astype(np.int64))
    numbers = np.arange(rows.num_labels)
    ranked = {number: _Ranking(*rows.one(number)) for number in range(rows.num_labels)}
    by_class = {number: ranking for number, ranking in ranked.items() if ranking.defined}
    if not by_class:
        return (), (), count
    has = numbers == rows.truth[:, None] if rows.tags is None else rows.truth > 0
    micro = _Ranking(has.ravel(), rows.probability.ravel())
    weakest = sorted(by_class, key=lambda number: (by_class[number].average_precision, number))[:NUM_WEAKEST]
    roc = [_macro([r.roc_at() for r in by_class.values()], [r.roc_area for r in by_class.values()])]
    pr = [_macro([r.pr_at() for r in by_class.values()], [r.average_precision for r in by_class.values()])]
    roc += [micro.roc("micro"), *(by_class[number].roc(labels[number]) for number in weakest)]
    pr += [micro.pr("micro"), *(by_class[number].pr(labels[number]) for number in weakest)]
    return tuple(roc), tuple(pr), count


class _Ranking:
    """Rows by descending score, those of one score together."""

    def __init__(self, positive: np.ndarray, score: np.ndarray) -> None:
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
        self.hits = np.cumsum(positive[order])[ends]
        self.misses = ends + 1 - self.hits
        self.thresholds = score[order][ends]
        self.positives, self.negatives = int(self.hits[-1]), int(self.misses[-1])
        self.defined = bool(self.positives and self.negatives)
        if self.defined:
            self.found = self.hits / self.positives
            self.false = self.misses / self.negatives
            self.precision = self.hits / (ends + 1)
            self.average_precision = float((np.diff(self.found, prepend=0) * self.precision).sum())
            self.roc_area = float(np.trapezoid(np.append(0, self.found), np.append(0, self.false)))

    def roc(self, of: str) -> Curve:
        """The curve from (0, 0), where nothing is answered so, to (1, 1)."""
        x, y = np.append(0, self.false), np.append(0, self.found)
        return self._curve(of, self.roc_area, x, y, np.append(1.0, self.thresholds))

    def pr(self, of: str) -> Curve:
        """Recall and precision from the highest score on."""
        return self._curve(of, self.average_precision, self.found, self.precision, self.thresholds)

    def _curve(self, of: str, area: float, x: np.ndarray, y: np.ndarray, thresholds: np.ndarray) -> Curve:
        kept = thinned(x, y)
        share = self.positives / (self.positives + self.negatives)
        return Curve(
            of=of,
            area=round(area, DECIMALS),
            share=round(share, DECIMALS),
            points=_points(x[kept], y[kept]),
            thresholds=tuple(np.round(thresholds[kept], 6).tolist()),
        )

    def roc_at(self) -> np.ndarray:
        """True positive rate at each false positive rate of the grid."""
        return np.asarray(np.interp(_GRID, np.append(0, self.false), np.append(0, self.found)))

    def pr_at(self) -> np.ndarray:
        """The best precision at each recall of the grid or beyond."""
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        at = np.minimum(np.searchsorted(self.found, _GRID - 1e-12), len(best) - 1)
        return np.asarray(best[at])


def _macro(grids: Sequence[np.ndarray], areas: Sequence[float]) -> Curve:
    mean = np.mean(grids, axis=0)
    return Curve(
        of="macro",
        area=round(float(np.mean(areas)), DECIMALS),
        share=round(1 / len(grids), DECIMALS),
        points=_points(_GRID, mean),
    )


def thinned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Positions of at most MAX_POINTS points, first and last among them, evenly spread along the curve."""
    if len(x) <= MAX_POINTS:
        return np.arange(len(x))
    width, height = (max(float(np.ptp(side)), 1e-12) for side in (x, y))
    way = np.append(0, np.cumsum(np.abs(np.diff(x)) / width + np.abs(np.diff(y)) / height))
    return np.unique(np.searchsorted(way, np.linspace(0, way[-1], MAX_POINTS)).clip(0, len(x) - 1))


def _points(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple(zip(np.round(x, 6).tolist(), np.round(y, 6).tolist(), strict=True))


def coverage_risk(rows: Scored, level: float) -> CoverageRisk:
    """Errors among the rows of highest confidence, for every share of rows answered."""
    order = np.argsort(-rows.confidence, kind="stable")
    confidence, wrong = rows.confidence[order], ~rows.right[order]
    ends = np.flatnonzero(np.append(np.diff(confidence) != 0, True))
    errors = np.cumsum(wrong)[ends]
    counts = ends + 1
    share, risk = counts / len(rows), errors / counts
    kept = thinned(share, risk)
    return CoverageRisk(
        area=round(_mean_over_rows(risk, counts), DECIMALS),
        best=round(_best_area(int(errors[-1]), len(rows)), DECIMALS),
        points=_points(share[kept], risk[kept]),
        answered=tuple(_answered(share, confidence[ends], errors, counts, level)),
    )


def _mean_over_rows(risk: np.ndarray, counts: np.ndarray) -> float:
    """Mean risk over all numbers of rows answered; rows of one confidence share the risk of them all."""
    return float((risk * np.diff(counts, prepend=0)).sum() / counts[-1])


def _best_area(errors: int, rows: int) -> float:
    """The area if all rows that are wrong came last."""
    answered = np.arange(rows - errors + 1, rows + 1)
    return float(((answered - (rows - errors)) / answered).sum() / rows)


def _answered(
    share: np.ndarray, confidence: np.ndarray, errors: np.ndarray, counts: np.ndarray, level: float
) -> list[Answered]:
    found: dict[int, Answered] = {}
    for wanted in SHARES:
        at = int(np.argmin(np.abs(share - wanted)))
        if abs(share[at] - wanted) > 0.05 or at in found:
            continue
        low, high = wilson(int(errors[at]), int(counts[at]), level)
        found[at] = Answered(
            share=round(float(share[at]), 6),
            error=round(float(errors[at] / counts[at]), DECIMALS),
            low=low,
            high=high,
            least_confidence=round(float(confidence[at]), DECIMALS),
            num_rows=int(counts[at]),
        )
    return list(found.values())


def residuals(rows: Scored) -> Residuals:
    """Predicted against true values in bins of rows, and the histogram of residuals."""
    order = np.argsort(rows.value, kind="stable")
    pieces = [piece for piece in np.array_split(order, min(NUM_BINS, max(1, len(rows) // 5))) if len(piece)]
    low, median, high = np.quantile(rows.residual, [0.05, 0.5, 0.95])
    first, last = np.quantile(rows.residual, [0.005, 0.995])
    reach = max(abs(float(first)), abs(float(last)), 1e-12)
    edges = np.linspace(-reach, reach, NUM_RESIDUAL_BINS + 1)
    counts, _ = np.histogram(np.clip(rows.residual, -reach, reach), edges)
    return Residuals(
        bins=tuple(_value_bin(rows, piece) for piece in pieces),
        edges=tuple(np.round(edges, DECIMALS).tolist()),
        counts=tuple(counts.tolist()),
        median=round(float(median), DECIMALS),
        low=round(float(low), DECIMALS),
        high=round(float(high), DECIMALS),
    )


def _value_bin(rows: Scored, piece: np.ndarray) -> ValueBin:
    value, truth = rows.value[piece], rows.truth[piece]
    low, high = np.quantile(truth, [0.1, 0.9])
    figures = {
        "low": value[0],
        "high": value[-1],
        "predicted": value.mean(),
        "truth": truth.mean(),
        "truth_low": low,
        "truth_high": high,
    }
    return ValueBin(num_rows=len(piece), **{name: round(float(figure), DECIMALS) for name, figure in figures.items()})
