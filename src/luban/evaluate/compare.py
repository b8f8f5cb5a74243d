"""Two models on the same rows: a paired bootstrap of the first metric, and McNemar's exact test.

Source: McNemar 1947 in its exact (binomial) form: of the rows on which just one of the two is right,
how unlikely is this split if each were equally likely. Only rows on which they differ count, which is
why a small real gain shows that two separate intervals would hide. It knows no registry.
"""

from __future__ import annotations

import numpy as np

from luban.catalog import need
from luban.evaluate.bootstrap import interval
from luban.evaluate.metrics import Metric
from luban.evaluate.records import Comparison, Estimate, McNemar, finite
from luban.evaluate.scored import KNOWS_ANSWERS, Scored


def mcnemar(model: Scored, other: Scored) -> McNemar:
    """The exact two-sided test; p is 1 where the two never differ."""
    only_model = int((model.right & ~other.right).sum())
    only_other = int((other.right & ~model.right).sum())
    differ = only_model + only_other
    p_value = 1.0
    if differ:
        p_value = float(need("scipy.stats", "train").binomtest(only_model, differ, 0.5).pvalue)
    return McNemar(only_model=only_model, only_other=only_other, p_value=round(p_value, 10))


def compare(
    name: str,
    metric: tuple[str, Metric],
    scored: tuple[Scored, Scored],
    estimates: tuple[Estimate, Estimate],
    resamples: tuple[np.ndarray, np.ndarray],
    level: float,
) -> Comparison:
    """The model (first of each pair) beside `name` (second), by `metric`, its name and itself."""
    sign = 1.0 if metric[1].higher_is_better else -1.0
    low, high, _ = interval(sign * (resamples[0] - resamples[1]), level)
    model, other = (estimate.value for estimate in estimates)
    difference = None if model is None or other is None else finite(sign * (model - other))
    reason = None
    if difference is None:
        reason = estimates[0].reason or estimates[1].reason
    elif low is None:
        reason = "too few resamples define the metric for both"
    tested = mcnemar(*scored) if KNOWS_ANSWERS in scored[0].has else None
    return Comparison(
        other=name,
        metric=metric[0],
        model=model,
        value=other,
        difference=difference,
        low=low,
        high=high,
        significant=difference is not None and low is not None and low > 0,
        worse=difference is not None and high is not None and high < 0,
        mcnemar=tested,
        reason=reason,
    )
