"""Luban's side of `fine_tune`: the neural family with a pretrained tower, lower layers frozen and computed once.

    python fine_tune_ours.py ENCODER ROWS.json SEED PRECISION

Prints a line of JSON for each evaluation: seconds of training so far by the clock and of the processor,
log loss, accuracy. Measuring precision and
computing frozen layers count as training.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from luban.catalog import FAMILIES, FEATURES
from luban.features.base import Feature
from luban.models.base import FitContext
from luban.models.neural.learner import Learner, Trained
from luban.models.neural.recipe import Recipe
from luban.tasks.base import Head
from luban.train.loop import loop

RECIPE = {
    "learning_rate": 1e-3,
    "epochs": 2,
    "batch_rows": 16,
    "frozen_layers": 5,
    "layer_decay": 0.8,
    "evaluations_per_epoch": 3,
    "patience": 100,
}


def now() -> np.ndarray:
    """Seconds [2] by the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


class Timed:
    """The loop, which says how long it has trained, evaluations left out."""

    def __init__(self, y: np.ndarray) -> None:
        self.y, self.accuracy = y, 0.0
        self.began = self.paused = np.zeros(2)

    def __call__(self, learner: Learner, recipe: Recipe, context: FitContext) -> Trained:
        asked = learner.validate
        self.began = now()

        def validate() -> float:
            start = now()
            found = asked()
            print(json.dumps([*(start - self.began - self.paused), found, self.accuracy]), flush=True)
            self.paused = self.paused + now() - start
            return found

        learner.validate = validate  # type: ignore[method-assign]
        return loop(learner, recipe, context)

    def loss(self, outputs: np.ndarray, y: np.ndarray) -> float:
        """Log loss, not calibrated, as the peer's."""
        z = outputs[:, 0]
        self.accuracy = float(((z > 0) == (y > 0.5)).mean())
        return float(np.mean(np.logaddexp(0.0, np.where(y > 0.5, -z, z))))


def main(encoder: str, rows_file: str, seed: str, precision: str) -> None:
    said = json.loads(Path(rows_file).read_text("utf-8"))
    recipe = {**RECIPE, "precision": precision}
    tower = {"kind": "pretrained", "model": encoder, "max_tokens": said["max_tokens"]}
    family: Any = FAMILIES.make("neural", {"tower": tower, "hidden": [], "recipe": recipe})
    feature: Feature = FEATURES.make("text")
    want = family.tower.want()
    tokens = feature.fit(said["train"][0], want, int(seed))
    block = tokens.block("text")
    train, valid = (tokens.encode(said[split][0]).named(block) for split in ("train", "valid"))
    y_train, y_valid = (np.array(said[split][1], np.float32) for split in ("train", "valid"))
    timed = Timed(y_valid)
    context = FitContext(
        head=Head("binary", 1),
        blocks=(block,),
        valid=valid,
        y_valid=y_valid,
        seed=int(seed),
        num_threads=len(os.sched_getaffinity(0)),
        loss=timed.loss,
        decide=lambda key, make: make(),
        loop=timed,
    )
    family.fit(train, y_train, context)


if __name__ == "__main__":
    main(*sys.argv[1:])
