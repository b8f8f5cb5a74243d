"""What the classification tasks share: class names, temperature, the search for it, and favoured classes.

Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): outputs are divided
by one number that minimises log loss on validation rows. Decided here: a handful of perfectly separated
rows must not make a model certain of everything, nor a handful of rows move it far. So the truth of a
row of a class with n validation rows is taken as (n + 1/4) / (n + 1/2), milder than Platt's (n + 1) / (n + 2)
("Probabilistic Outputs for Support Vector Machines", 1999), and the temperature has a prior, log-normal
around 1 with deviation 1/2; with no rows it is 1.

Favoured classes (Menon et al., "Long-tail learning via logit adjustment", 2021, post hoc): `offsets` are added to
the logarithms of probabilities before an answer is chosen; the probabilities that are given out stay honest.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from luban.catalog import FEATURES
from luban.data.schema import Schema
from luban.errors import BadValue, DataError
from luban.features.base import Encoder
from luban.features.category import Category
from luban.features.kinds import IndexConfig, Want
from luban.tasks.base import Decoding

NOT_FINITE = "the model gave no finite output for this row"
FIRST = 2
"""Index of the first class: 0 is missing, 1 unknown."""
WANT = Want("index", IndexConfig(min_rows=1))
METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1",
    "f1_micro",
    "f1_macro",
    "roc_auc",
    "pr_auc",
    "log_loss",
    "brier",
    "ece",
)
PRIOR_DEVIATION = 0.5
_LOW, _HIGH = math.log(0.01), math.log(100.0)
_GOLDEN = (math.sqrt(5) - 1) / 2


def class_names(encoder: Encoder) -> list[str]:
    """The classes in order of their numbers, from the `values` of an index encoder's state."""
    return [str(value) for value in encoder.state().json["values"]]


def as_class(value: Any) -> Any:
    """A class as a setting names it, as the target's column keeps it: 1 and 1.0 are "1". Raises ValueError."""
    try:
        return Category().parse_value(value)
    except BadValue as error:
        raise ValueError(f"must name a class, but {error.message}") from None


def class_numbers(indices: np.ndarray) -> np.ndarray:
    """Class numbers [B] int64 from 0. Raises DataError where a target is missing or unknown."""
    missing, unknown = int((indices == 0).sum()), int((indices == 1).sum())
    if missing or unknown:
        raise DataError(
            f"Every row must have a known target, but {missing} rows have none and {unknown} have one that "
            "training never saw.",
            "Remove these rows, or draw the split by the target.",
        )
    numbers: np.ndarray = indices - FIRST
    return numbers


def refuse_target(schema: Schema, want: Want) -> str | None:
    """None if the schema has a target whose type can give `want`, or why not."""
    if schema.target is None:
        return "no column is the target"
    reason: str | None = FEATURES.make(schema.target.type, schema.target.settings).supports(want)
    return reason


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature in [0.01, 100] that suits logits [B, C] to class numbers y [B], smoothed as above."""
    rows, classes = logits.shape
    if not rows:
        return 1.0
    counts = np.bincount(y, minlength=classes)[y]
    missed = 0.25 / (counts + 0.5)
    off = missed / (classes - 1)
    true = np.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    expected = (1 - missed - off) * true + off * logits.sum(axis=1)
    top = logits.max(axis=1)

    def loss(temperature: float) -> float:
        spread = np.exp((logits - top[:, None]) / temperature).sum(axis=1)
        prior = math.log(temperature) ** 2 / (2 * PRIOR_DEVIATION**2)
        return float((np.log(spread) + (top - expected) / temperature).sum() + prior)

    low, high = _LOW, _HIGH
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(math.exp(left)), loss(math.exp(right))
    while high - low > 1e-4:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(math.exp(right))
    found = math.exp((low + high) / 2)
    return round(found, 6) if loss(found) < loss(1.0) else 1.0


def decision_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature that suits independent yes-or-no logits [B, n] to y [B, n] in {0, 1}, all decisions alike."""
    flat = np.asarray(logits, np.float64).ravel()
    return fit_temperature(np.stack([np.zeros_like(flat), flat], axis=1), (y.ravel() > 0.5).astype(np.int64))


def squashed(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) float64; NaN where they are."""
    with np.errstate(over="ignore"):
        found: np.ndarray = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    return found


def log_odds(y: np.ndarray) -> np.ndarray:
    """Log-odds [n] float32 of each column of y [B, n], with half a row added to both sides so that they are finite."""
    positive = y.sum(axis=0, dtype=np.float64)
    return np.asarray(np.log((positive + 0.5) / (len(y) - positive + 0.5)), np.float32)


def favoured(decoding: Decoding, log_weights: np.ndarray) -> Decoding:
    """A decoding with `offsets`; what is aimed at then is that each class is found."""
    offsets = [round(float(weight), 6) for weight in log_weights]
    return {**decoding, "offsets": offsets, "aim": "balanced_accuracy"}


def offset(scores: np.ndarray, decoding: Decoding) -> np.ndarray:
    """Probabilities [B, C] times the exponential of the decoding's `offsets`, where it has any; not normalised."""
    return scores * np.exp(np.asarray(decoding["offsets"])) if "offsets" in decoding else scores


def plain(decoding: Decoding) -> Decoding:
    """A decoding that favours no class, and still aims at what it aimed at."""
    return {name: value for name, value in decoding.items() if name != "offsets"}


def log_loss(probabilities: np.ndarray, y: np.ndarray) -> float:
    """Mean of -ln of the probability [B, C] that each row's true class number [B] was given."""
    given = probabilities[np.arange(len(y)), y.astype(np.int64)]
    return float(-np.log(np.clip(given, 1e-15, None)).mean()) if len(y) else 0.0


def answer_columns(decoding: Decoding) -> dict[str, str]:
    """Columns of a classification's answers and their JSON types."""
    probabilities = {f"probability_{name}": "number" for name in decoding["classes"]}
    return {"label": "string", "confidence": "number", **probabilities}
