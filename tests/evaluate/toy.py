"""Two small tasks that need no other part of the package: enough contract for `evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np

from luban.data.schema import Schema
from luban.data.table import Table
from luban.features.base import Encoder
from luban.features.kinds import Arrays, IndexConfig, Want
from luban.tasks.base import Decoding, Head, Task, TaskOptions


class Toy(Task):
    """What both share: nothing is fitted here."""

    def supports(self, schema: Schema, classes: int | None) -> str | None:
        return None

    @property
    def target_want(self) -> Want:
        return Want("index", IndexConfig())

    def target(self, encoder: Encoder, arrays: Arrays) -> tuple[np.ndarray, Head]:
        raise AssertionError("not asked for")

    def baseline(self, y: np.ndarray, head: Head) -> np.ndarray:
        raise AssertionError("not asked for")

    def loss(self, outputs: np.ndarray, y: np.ndarray, decoding: Decoding) -> float:
        raise AssertionError("not asked for")

    def calibrate(self, encoder: Encoder, outputs: np.ndarray, y: np.ndarray) -> Decoding:
        raise AssertionError("not asked for")


class ToyClasses(Toy):
    """Classes: one logit for two, one each for more, divided by a temperature."""

    metrics = ("f1_macro", "accuracy", "log_loss", "roc_auc")

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        logits = outputs / decoding.get("temperature", 1.0)
        if logits.shape[1] == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        labels = [decoding["classes"][i] for i in self.scores(outputs, decoding).argmax(axis=1)]
        return Table({"label": labels}, [None] * len(labels))


class ToyNumberOptions(TaskOptions):
    """The level of the interval."""

    level: float = 0.9


class ToyNumber(Toy):
    """A standardised number with an interval of constant half-width."""

    Options = ToyNumberOptions

    metrics = ("rmse", "mae", "r2")

    def scores(self, outputs: np.ndarray, decoding: Decoding) -> np.ndarray:
        return np.asarray(outputs[:, 0] * decoding["scale"] + decoding["mean"])

    def decode(self, outputs: np.ndarray, decoding: Decoding, options: TaskOptions) -> Table:
        value = self.scores(outputs, decoding)
        columns: dict[str, list[Any]] = {"value": value.tolist()}
        if "half_width" in decoding:
            columns["low"] = (value - decoding["half_width"]).tolist()
            columns["high"] = (value + decoding["half_width"]).tolist()
        return Table(columns, [None] * len(value))


def classes_case(num_rows: int, num_classes: int, seed: int = 0, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """y [B] and logits that know it to some degree."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, num_classes, num_rows)
    if num_classes == 2:
        return y.astype(np.float32), ((2 * y - 1) * skill / 2 + rng.normal(size=num_rows))[:, None]
    logits = rng.normal(size=(num_rows, num_classes))
    logits[np.arange(num_rows), y] += skill
    return y, logits
