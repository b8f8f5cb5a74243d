"""One method on one bundle: made, measured on validation rows, judged by one rule.

Kept only if the first metric loses no more than `budget.max_drop` points, no answer depends on its
batch, and it is faster beyond doubt or makes the bundle fit into `budget.size_mb`. Decided here: a drop
of a metric in the target's own unit (lower is better) is a share of it, for a point of it means
nothing; rows decide that neither the model nor what was made of it has seen, and `evaluate` compares on test rows
besides. Every verdict has a code, the figures, and a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from luban.bundle.bundle import Bundle
from luban.evaluate.metrics import Metric, Undefined, metric
from luban.evaluate.records import finite
from luban.evaluate.scored import Scored, scored, truth_of

NEIGHBOURS = 64
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Rule:
    """What a compressed bundle must keep to."""

    max_drop: float
    size_mb: float | None
    min_gain: float


def judge(figures: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """The figures with `status` ("accepted" or "refused"), `code` and `reason`.

    `figures` has `metric`, `before`, `after`, `drop`, `moved` (labels that depend on neighbours),
    `size_mb` [before, after], and `row` and `batch` of `compare_times`.
    """
    code = _code(figures, rule)
    accepted = code in ("faster", "fits")
    reason = _REASONS[code].format(**_blanks(figures, rule))
    return {**figures, "status": "accepted" if accepted else "refused", "code": code, "reason": reason}


def _code(figures: dict[str, Any], rule: Rule) -> str:
    drop = figures["drop"]
    if drop is None:
        return "no_metric"
    if drop > rule.max_drop:
        return "drop"
    if figures["moved"]:
        return "neighbours"
    before, after = figures["size_mb"]
    if rule.size_mb is not None and after <= rule.size_mb < before:
        return "fits"
    ratios = [figures[name] for name in ("row", "batch")]
    faster = any(ratio["high"] <= 1 - rule.min_gain for ratio in ratios)
    slower = any(ratio["low"] > 1 for ratio in ratios)
    if faster and not slower:
        return "faster"
    return "mixed" if faster else "slower" if slower else "not_faster"


_FIGURES = (
    "one row takes {row:.2f} of the time it took ({row_low:.2f} to {row_high:.2f}), a batch of {rows} rows {batch:.2f} "
    "({batch_low:.2f} to {batch_high:.2f}); the bundle is {size_after:.3g} MB, it was {size_before:.3g} MB; "
    "{metric} on validation rows is {after:.4g}, it was {before:.4g}"
)
_REASONS = {
    "no_metric": "{metric} is not defined on the validation rows, so that nothing says what is lost.",
    "drop": "{metric} on validation rows falls from {before:.4g} to {after:.4g}: by {drop:.4g}, allowed {max_drop:g}.",
    "neighbours": "{moved} of {asked} answers depend on the other rows of their batch.",
    "fits": "It makes the bundle fit into its budget of {size_limit:g} MB: " + _FIGURES + ".",
    "faster": "It is faster beyond doubt: " + _FIGURES + ".",
    "mixed": "It is faster in one way and slower in another: " + _FIGURES + ".",
    "slower": "It is slower: " + _FIGURES + ".",
    "not_faster": "It is not faster by at least {min_gain:.0%}: " + _FIGURES + ".",
}


def _blanks(figures: dict[str, Any], rule: Rule) -> dict[str, Any]:
    row, batch = figures["row"], figures["batch"]
    before, after = figures["size_mb"]
    return {
        **{key: figures[key] if figures[key] is not None else float("nan") for key in ("before", "after", "drop")},
        "metric": figures["metric"],
        "moved": figures["moved"],
        "asked": figures["asked"],
        "max_drop": rule.max_drop,
        "min_gain": rule.min_gain,
        "size_limit": rule.size_mb or 0.0,
        "size_before": before,
        "size_after": after,
        "rows": batch["rows"],
        **{f"{name}{end}": ratio[key] for name, ratio in (("row", row), ("batch", batch)) for end, key in _ENDS},
    }


_ENDS = (("", "value"), ("_low", "low"), ("_high", "high"))


def quality(bundle: Bundle, outputs: tuple[np.ndarray, np.ndarray], y: np.ndarray) -> dict[str, Any]:
    """`metric`, `before`, `after` and `drop` on validation rows.

    `outputs` [B, n] are those of the bundle before and after; a figure that these rows do not define is None.
    """
    name = bundle.task.metrics[0]
    found = metric(name)
    decoding = bundle.manifest.task.decoding
    truth = truth_of(bundle.task, decoding, y, outputs[0])
    values = [_value(found, scored(bundle.task, decoding, truth, one)) for one in outputs]
    drop = None
    if values[0] is not None and values[1] is not None:
        drop = values[0] - values[1] if found.higher_is_better else values[1] - values[0]
        if not found.higher_is_better and values[0]:
            drop /= abs(values[0])
    return {"metric": name, "before": values[0], "after": values[1], "drop": None if drop is None else finite(drop)}


def _value(found: Metric, rows: Scored) -> float | None:
    try:
        return finite(found.value(rows))
    except Undefined:
        return None


def moved(bundle: Bundle, rows: Sequence[dict[str, Any]], decimals: float = 0.01) -> tuple[int, int]:
    """How many answers change when a row is asked alone and not beside others; and how many were asked.

    An answer is its label, or a value that moves by more than `decimals` of the values' spread.
    """
    rows = rows[:NEIGHBOURS]
    together = _outputs(bundle, rows)
    alone = np.concatenate([_outputs(bundle, [row]) for row in rows])
    ours, theirs = _answers(bundle, together), _answers(bundle, alone)
    if all(isinstance(answer, str) for answer in ours):
        return sum(a != b for a, b in zip(ours, theirs, strict=True)), len(rows)
    scale = max(float(np.std(together)), 1e-12)
    return int((np.abs(together - alone).max(axis=1) > decimals * scale).sum()), len(rows)


def _outputs(bundle: Bundle, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.asarray(bundle.run(bundle.encode(bundle.values(rows).columns)), np.float64)


def _answers(bundle: Bundle, outputs: np.ndarray) -> list[Any]:
    table = bundle.task.decode(outputs, bundle.manifest.task.decoding, bundle.task.Options())
    return list(next(iter(table.columns.values())))


def size_mb(bundle: Bundle) -> float:
    """Megabytes of the bundle's files."""
    return round(sum(file.bytes for file in bundle.manifest.files.values()) / MEGABYTE, 6)
