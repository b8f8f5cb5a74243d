"""Trains a learner whose batches take 16 MB a row, in an address space that has room for half a batch of 32."""

from __future__ import annotations

import json
import re
import resource
from pathlib import Path

import numpy as np
import torch

from luban.models.neural.learner import Perturb
from luban.models.neural.recipe import Recipe
from luban.train.loop import loop

from .tiny import Tiny, context

ROW_BYTES = 16 << 20


class Hungry(Tiny):
    """Makes a large tensor for each row of a batch."""

    most = 0

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> torch.Tensor:
        room = torch.empty(len(rows) * ROW_BYTES // 4)
        self.most = max(self.most, len(rows))
        return super().losses(rows, recipe, perturb) + 0.0 * room[:1].zero_()


def main() -> None:
    loop(Tiny(), Recipe(epochs=1), context())  # so that all libraries have what they need for themselves
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"VmSize:\s*(\d+) kB", status)
    assert found is not None
    most = int(found[1]) * 1024 + 24 * ROW_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    learner = Hungry()
    trained = loop(learner, Recipe(epochs=2), context())
    print(json.dumps({"steps": trained.steps, "notes": trained.notes, "most": learner.most}))


if __name__ == "__main__":
    main()
