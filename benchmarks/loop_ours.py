"""Luban's side of `loop`: its training loop on the model of `loop_model`, all that it does switched on.

python loop_ours.py SIZE STEPS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import torch

from loop_model import BATCH, CLIP, EVERY, LEARNING_RATE, ROWS, WEIGHT_DECAY, Model, rows
from luban.models.base import FitContext
from luban.models.neural.learner import Learner, Perturb
from luban.models.neural.recipe import Recipe
from luban.tasks.base import Head
from luban.train.loop import loop


class Rows(Learner):
    """The model and its rows."""

    def __init__(self, size: str) -> None:
        self.module = Model(size)
        self.num_rows = ROWS
        self.ids, self.labels = rows()
        self.lengths = np.full(ROWS, self.ids.shape[1])

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
        some = torch.from_numpy(rows)
        found: torch.Tensor = self.module(self.ids[some], self.labels[some])["loss"]
        return found

    def validate(self) -> float:
        return float(self.module(self.ids[ROWS:], self.labels[ROWS:])["loss"].mean())

    def layers(self) -> Sequence[Sequence[str]]:
        return [[name] for name, _ in self.module.named_parameters()]


def main(size: str, steps: int) -> None:
    torch.manual_seed(0)
    recipe = Recipe(
        learning_rate=LEARNING_RATE,
        l2=WEIGHT_DECAY,
        clip_norm=CLIP,
        batch_rows=BATCH,
        epochs=1000,
        max_steps=steps,
        evaluations_per_epoch=ROWS // BATCH // EVERY,
        patience=1000,
        precision="fp32",
    )
    context = FitContext(
        head=Head("softmax", 2),
        blocks=(),
        valid={},
        y_valid=np.zeros(1),
        seed=0,
        num_threads=1,
        loss=lambda outputs, y: 0.0,
        decide=lambda key, make: make(),
        progress=lambda what, share: print(what, file=sys.stderr),
    )
    loop(Rows(size), recipe, context)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
