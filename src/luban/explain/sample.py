"""Many rows of a bundle at once, each column encoded once, so that columns can be shuffled or taken away cheaply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from luban.explain.base import Case
from luban.explain.quantity import Quantity
from luban.features.kinds import Arrays, take


class Sample:
    """The rows of a case that have an answer, at most `most` of them, drawn by the case's seed.

    `rows` [B] are their positions in the case, `truth` [B] their targets, None where unknown.
    """

    def __init__(self, case: Case, most: int) -> None:
        good = case.good()
        if len(good) > most:
            good = np.sort(np.random.default_rng(case.seed).choice(good, most, replace=False))
        self.rows = good
        self.bundle = case.bundle
        self.quantity = Quantity.of(case.bundle)
        self.truth = None if case.truth is None else np.asarray(case.truth)[good]
        self.values = {name: [values[i] for i in good.tolist()] for name, values in case.values.columns.items()}
        self._arrays: dict[str, Arrays] = {}
        for (column, encoder), block in zip(self.bundle.encoders, self.bundle.blocks, strict=True):
            self._arrays.setdefault(column, {}).update(encoder.encode(self.values[column]).named(block))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        """The columns that the bundle reads."""
        return list(self._arrays)

    def run(self, orders: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Outputs [B, n] where each column named in `orders` has its values of the rows [B] given there."""
        arrays: Arrays = {}
        for column, found in self._arrays.items():
            arrays |= take(found, orders[column]) if orders and column in orders else found
        return self.bundle.run(arrays)

    def loss(self, outputs: np.ndarray) -> float:
        """The task's loss. Only where the truth is known."""
        assert self.truth is not None
        return float(self.bundle.task.loss(outputs, self.truth, self.bundle.manifest.task.decoding))
