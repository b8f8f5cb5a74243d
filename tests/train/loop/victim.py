"""`python -m train.loop.victim FOLDER` trains the tiny learner as `luban train` would, to be killed at any instant.

It says `batch` for each batch it works through, and at the end one line of JSON: history and weights to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from luban.models.neural.learner import Perturb
from luban.models.neural.recipe import Recipe
from luban.store.home import Home
from luban.train.loop import loop, training

from .tiny import Tiny, bits, context

SETTINGS: dict[str, Any] = {
    "epochs": 6,
    "batch_rows": 8,
    "accumulate": 2,
    "learning_rate": 0.02,
    "schedule": "plateau",
    "average": "ema",
    "noise": 0.05,
    "adversarial": 0.1,
    "evaluations_per_epoch": 6,
    "patience": 1000,
    "unfreeze_every": 1.0,
    "checkpoint_every_s": 0.001,
}


class Slow(Tiny):
    """Says each batch, and takes its time."""

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
        print("batch", flush=True)
        time.sleep(0.003)
        return super().losses(rows, recipe, perturb)


def main(folder: Path) -> None:
    """Train, keep the result, say it; a checkpoint at every evaluation, however long this disk takes."""
    training.WRITING_SHARE = math.inf
    home = Home.open(folder)

    def make(out: Path) -> None:
        decide = lambda key, made: home.ledger.decide("key", key, made)  # noqa: E731
        learner = Slow()
        trained = loop(learner, Recipe(**SETTINGS), context(decide=decide, unfinished=home.unfinished("key")))
        digest = hashlib.sha256(b"".join(w.tobytes() for w in learner.weights().values())).hexdigest()
        found = {"history": bits(trained.history), "weights": digest, "best": trained.best_step}
        (out / "found.json").write_text(json.dumps(found))

    print((home.keep("key", make) / "found.json").read_text(), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
