"""Several tags a row: one logit a tag, calibrated, each cut at a threshold of its own.

Decided here: tags stand in order of strings; a row without tags is a row like any other, and so is an answer
without any. One temperature is fitted over all decisions, and one of its own for each tag that enough
validation rows have and lack. Thresholds are chosen on validation rows for the highest F1: a tag's own where
enough rows have it, else the one that is best over all tags together. A tag that no training row has is
unknown: rows that have it count as if they had not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban.catalog import FEATURES
from luban.data.schema import Schema
from luban.data.table import Table
from luban.errors import DataError
from luban.features.base import Encoder
from luban.features.kinds import Arrays, BagConfig, Want
from luban.tasks.base import Decoding, Head, Judgement, Share, Task, TaskOptions, Tolerance
from luban.tasks.classes import FIRST, NOT_FINITE, decision_temperature, log_odds, squashed
from luban.tasks.thresholds import DECIMALS, constant_threshold, f1_threshold

WANT = Want("bag", BagConfig(min_rows=1, binary=True, sublinear=False, idf=False, norm="none"))
OWN_TEMPERATURE, OWN_THRESHOLD = 50, 20
"""Validation rows that must have a tag (and lack it) before its temperature and threshold are its own."""


class TagsOptions(TaskOptions):
    """What may be asked of one prediction of tags."""

    threshold: float | None = Field(None, ge=0, le=1)
    """Probability from which a tag is given; the model's own for each tag if left out."""


class Tags(Task):
    """Any number of tags for each row."""

    class Config(Task.Config):
        """From when on a tag is given."""

        threshold: Literal["f1"] | Share = "f1"
        """f1: for each tag what gives the highest F1 on validation rows; or one probability for all."""

    config: Config
    metrics: ClassVar[tuple[str, ...]] = (
        "f1_micro",
        "f1_macro",
        "f1_samples",
        "subset_accuracy",
        "hamming_loss",
        "pr_auc",
        "roc_auc",
        "log_loss",
        "brier",
        "ece",
    )
    Options: ClassVar[type[TaskOptions]] = TagsOptions

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        """A target whose values are lists."""
        target = schema.target
        if target is None:
            return "no column is the target"
        feature = FEATURES.make(target.type, target.settings)
        if not pa.types.is_list(feature.storage):
            return (
                f"the target must be lists of tags, but is a {target.type} column "
                f"(say `data: {{columns: {{{target.name}: tags}}}}` if it is one)"
            )
        reason: str | None = feature.supports(WANT)
        return reason

    @property
    def target_want(self) -> Want:
        """A bag that knows every tag, be it in one row."""
        return WANT

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        """y [B, n] float32 in {0, 1}, tags in order of strings."""
        width = encoder.size - FIRST
        if not width:
            raise DataError("No training row has a tag.", "Check `data.target`.")
        rows = np.repeat(np.arange(len(arrays["offsets"]) - 1), np.diff(arrays["offsets"]))
        y_bn = np.zeros((len(arrays["offsets"]) - 1, width), np.float32)
        y_bn[rows, arrays["ids"] - FIRST] = 1.0
        return y_bn, Head("binary", width)

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        """The log-odds of each tag, with half a row added to both sides so that they are finite."""
        return log_odds(y)

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        """`classes` (the tags), `temperature`, `temperatures` and `thresholds` of each."""
        logits = np.asarray(outputs, np.float64)
        temperature = decision_temperature(logits, y)
        counts = y.sum(axis=0)
        enough = np.minimum(counts, len(y) - counts) >= OWN_TEMPERATURE
        own = [decision_temperature(logits[:, [i]], y[:, [i]]) if enough[i] else temperature for i in range(y.shape[1])]
        found: Decoding = {
            "classes": [str(tag) for tag in encoder.state().json["vocabulary"]],
            "temperature": temperature,
            "temperatures": own,
        }
        return {**found, "thresholds": self._thresholds(self.scores(logits, found), y > 0.5)}

    def _thresholds(self, scores: np.ndarray, truth: np.ndarray) -> list[float]:
        if self.config.threshold != "f1":
            return [float(self.config.threshold)] * truth.shape[1]
        common = f1_threshold(scores.ravel(), truth.ravel())
        counts = truth.sum(axis=0)
        return [
            f1_threshold(scores[:, i], truth[:, i]) if counts[i] >= OWN_THRESHOLD else common
            for i in range(truth.shape[1])
        ]

    def uncalibrated(self, decoding: Decoding) -> Decoding:
        """All temperatures 1."""
        return {**decoding, "temperature": 1.0, "temperatures": [1.0] * len(decoding["classes"])}

    def trivial(self, decoding: Decoding, outputs: np.ndarray) -> Decoding:
        """The tags that are best given to every row, and no others."""
        plain = self.uncalibrated(decoding)
        # a constant's rounding must not decide
        threshold = constant_threshold(self.scores(outputs[:1], plain)[0]) - 10**-DECIMALS
        return {**plain, "thresholds": [threshold] * len(decoding["classes"])}

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Probabilities [B, n] float64, each tag's own."""
        return squashed(np.asarray(outputs, np.float64) / np.asarray(decoding["temperatures"]))

    def answered(self, scores: np.ndarray, decoding: Decoding) -> np.ndarray:
        """Bool [B, n]: whether a tag is given."""
        return np.asarray(scores >= np.asarray(decoding["thresholds"]))

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        """`tags`, the most probable first, and `probability_<tag>` for all."""
        assert isinstance(options, TagsOptions)
        scores, names = self.scores(outputs, decoding), decoding["classes"]
        if options.threshold is not None:
            decoding = {**decoding, "thresholds": [options.threshold] * len(names)}
        given = self.answered(scores, decoding)
        order = np.argsort(-scores, axis=1, kind="stable")
        tags = [[names[i] for i in ranks if row[i]] for ranks, row in zip(order.tolist(), given.tolist(), strict=True)]
        # as sure as the least sure of its decisions
        confidence = np.where(given, scores, 1 - scores).min(axis=1, initial=1.0)
        columns: dict[str, list[object]] = {"tags": list(tags), "confidence": confidence.tolist()}
        for name, column in zip(names, scores.T.tolist(), strict=True):
            columns[f"probability_{name}"] = column
        whole = np.isfinite(scores).all(axis=1).tolist()
        return Table(columns, [None if finite else NOT_FINITE for finite in whole])

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        """Mean log loss of all decisions."""
        if not len(y):
            return 0.0
        scores = self.scores(outputs, decoding)
        return float(-np.log(np.clip(np.where(y > 0.5, scores, 1 - scores), 1e-15, None)).mean())

    def columns(self, decoding: Decoding) -> dict[str, str]:
        """Columns of `decode` and their JSON types."""
        probabilities = {f"probability_{name}": "number" for name in decoding["classes"]}
        return {"tags": "array", "confidence": "number", **probabilities}

    def judge(self, answer: Mapping[str, Any], truth: Any, tolerance: Tolerance) -> Judgement:
        """Right where the tags are all of those and no other; wrong to the share of tags that only one of both has."""
        if not isinstance(truth, (list, tuple)) or "tags" not in answer:
            return Judgement(None, None)
        said, true = set(answer["tags"]), set(truth)
        return Judgement(said == true, len(said ^ true) / len(said | true) if said | true else 0.0)
