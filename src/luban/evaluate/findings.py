"""What a deeper look at a model found: frozen records that stand beside an `Evaluation` in its JSON.

Every part may be missing, and then a sentence says why. As everywhere: null beside a reason, never NaN;
floats rounded to ten decimals; differences turned so that above zero is better. Nothing here is a row's
own value but names of groups with enough rows (`slices`) and classes. This module computes nothing.
"""

from __future__ import annotations

from luban.evaluate.records import Record

Points = tuple[tuple[float, float], ...]


class Curve(Record):
    """One curve: x and y ascending in x, at most 200 points."""

    of: str
    """The class it is about; `macro`: mean over classes; `micro`: all classes in one ranking."""
    area: float
    """Below the curve; for precision and recall the average precision."""
    share: float
    """Of rows that are of this class: what guessing gives as precision."""
    points: Points
    thresholds: tuple[float, ...] = ()
    """Probability of the class from which it is answered at each point; empty for a mean."""


class Answered(Record):
    """What is wrong among the rows that a model is most sure of."""

    share: float
    """Of rows that are answered; those it is least sure of are left to a person."""
    error: float
    low: float
    high: float
    """Wilson's interval of `error`."""
    least_confidence: float
    """Answer from this confidence on."""
    num_rows: int


class CoverageRisk(Record):
    """Selective prediction: how often it is wrong if it need not answer all."""

    area: float
    """Mean error over all shares answered (AURC), lower is better."""
    best: float
    """The same if it were least sure of just those rows that it has wrong."""
    points: Points
    """Share of rows answered, and the share of these that is wrong."""
    answered: tuple[Answered, ...]
    """At shares that people ask for; a share is missing where equal confidences leave none near it."""


class ValueBin(Record):
    """Rows whose predicted value lies between `low` and `high`."""

    low: float
    high: float
    num_rows: int
    predicted: float
    truth: float
    """Means."""
    truth_low: float
    truth_high: float
    """Where eight of ten true values lie."""


class Residuals(Record):
    """Of a regression: predicted against true values, and how far off they are (predicted minus true)."""

    bins: tuple[ValueBin, ...]
    """Rows in bins of equal size by predicted value."""
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    """Histogram of residuals: the first and last bin also hold all that is beyond."""
    median: float
    low: float
    high: float
    """Nine of ten residuals lie between."""


class Curves(Record):
    """Curves of the model on the test rows."""

    roc: tuple[Curve, ...] = ()
    """False positive rate and true positive rate. Two classes: of the second; more: macro, micro and the
    weakest classes."""
    pr: tuple[Curve, ...] = ()
    """Recall and precision."""
    num_rows: int
    """Rows that `roc` and `pr` were taken from: all, or evenly spaced ones where all would take too long."""
    coverage_risk: CoverageRisk | None = None
    residuals: Residuals | None = None
    reason: str | None = None
    """Why there is no curve."""


class Slice(Record):
    """The test rows that share something, and how they fare."""

    column: str
    by: str
    """What of the column: `value`, `missing`, `period`, `weekday`, `hour`, or one of its signals (`length`)."""
    label: str
    """The value, the period or the range, to be read."""
    num_rows: int
    value: float
    low: float | None
    high: float | None
    """The figure on these rows and its interval."""
    difference: float | None
    """Against all other rows, above zero is better."""
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    q_value: float | None
    """p after the correction for looking at many."""
    significant: bool
    reason: str | None = None
    """Why there is no interval or no test."""


class Slices(Record):
    """Slices of the test rows, the worst first."""

    figure: str
    """A metric that is the mean of one number a row: `accuracy`, of tags `subset_accuracy`, of values `mae`."""
    higher_is_better: bool
    value: float
    """On all test rows."""
    level: float
    least_rows: int
    num_looked_at: int
    """Slices that have enough rows; all of them count in the correction."""
    num_small: int
    """Values that are no slice because too few rows have them."""
    num_worse: int
    """Slices significantly worse than the rest."""
    slices: tuple[Slice, ...]
    """The worst, at most 100."""
    method: str
    reason: str | None = None


class Money(Record):
    """Money per 1,000 test rows, above zero is earned."""

    policy: str
    """`chosen`: as recommended; `now`: as the model answers; `constant`: always `answer`; `person`: all rows."""
    answer: str | None = None
    value: float
    low: float | None
    high: float | None
    gain: float
    """What `chosen` earns more than this per 1,000 rows."""
    gain_low: float | None
    gain_high: float | None
    reviewed: float
    """Share of rows that a person answers."""
    error: float
    """Share of rows that are answered wrongly."""


class Costs(Record):
    """The recommendation and what it stands on."""

    currency: str
    positive: str | None = None
    """Of two classes the one that thresholds are about."""
    threshold: float | None = None
    """Two classes: answer the second from this probability on. More: answer from this confidence on."""
    review_from: float | None = None
    """Two classes: between this and `threshold` ask a person; the first class is answered below."""
    by_probability: float | None = None
    """The threshold that would be best if probabilities were exactly right: far from `threshold`, they are not."""
    money: tuple[Money, ...] = ()
    break_even_row: float | None = None
    """What answering one row may cost before the best constant answer is as good."""
    break_even_review: float | None = None
    """Below this price of asking, a person for every row earns more than the model alone."""
    free_errors: tuple[str, ...] = ()
    """Errors for which no cost is stated."""
    num_valid: int = 0
    advice: str = ""
    reason: str | None = None
    """Why there is no recommendation."""


class Perturbed(Record):
    """What one perturbation did to the answers."""

    name: str
    """Of the perturbation; `missing` where a column was taken away."""
    columns: tuple[str, ...]
    num_rows: int
    """Rows whose input it changed and that still got an answer: all figures are of these."""
    num_refused: int
    """Rows that got no answer any more."""
    changed: float | None
    changed_low: float | None
    changed_high: float | None
    """Share of answers that changed; null for numbers."""
    moved: float | None
    """Mean absolute change of the answer, of a number."""
    before: float | None
    after: float | None
    """The figure before and after."""
    difference: float | None
    low: float | None
    high: float | None
    """After minus before, turned so that above zero is better, with its paired interval."""
    significant: bool
    """The whole interval lies below zero: the figure is worse."""
    reason: str | None = None


class Robustness(Record):
    """All perturbations that fit some column."""

    figure: str
    higher_is_better: bool
    level: float
    num_rows: int
    """Test rows that were drawn."""
    perturbed: tuple[Perturbed, ...]
    method: str


class Findings(Record):
    """All that the deeper look found; what was not asked for is missing."""

    curves: Curves | None = None
    slices: Slices | None = None
    costs: Costs | None = None
    robustness: Robustness | None = None
