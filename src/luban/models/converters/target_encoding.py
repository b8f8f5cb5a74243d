"""Index to vector: for each value, the mean of the target over the training rows that have it.

Means are drawn towards the mean of all rows as if `smoothing` more rows had that (Micci-Barreca 2001);
for several classes there is one column a class. Decided here: a training row gets the means of the
folds it is not in, so that a model does not read its own target; folds are drawn by the seed. The prior
is that of all rows, since a fold's own would betray what the fold is like. Unknown values get the
prior; missing ones are a value like any other, at the prior where training rows lack none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from luban.catalog import searchable
from luban.features.kinds import Arrays, Block, IndexConfig, Kind, Want
from luban.models.base import Converter, FittedConverter
from luban.models.converters.tabled import Tabled
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

_UNKNOWN = 1


class FittedTargetEncoding(Tabled):
    """Means as a table [size of the index, n] float32."""

    def convert(self, arrays: Arrays) -> Arrays:
        """`value` [B, n] float32 and `present`."""
        return self.named(self.table[arrays[self.source.part("value")]], arrays)

    def export(self, graph: GraphBuilder) -> str:
        """One Gather."""
        return graph.node("Gather", [graph.constant(self.table), graph.take(self.source, "value")])


class TargetEncoding(Converter):
    """Smoothed means of the target."""

    takes: ClassVar[Kind] = "index"
    gives: ClassVar[Kind] = "vector"

    class Config(Converter.Config):
        """How means are smoothed and cross-fitted."""

        smoothing: float = searchable(10.0, 1.0, 100.0, log=True, gt=0)
        """Rows' worth of the overall mean that is mixed into each value's."""
        folds: int = Field(5, ge=2)
        """Folds of the cross-fit."""
        index: IndexConfig = IndexConfig()
        """The values it asks for."""

    def wants(self) -> Want:
        """The index of its config."""
        return Want("index", self.config.index)

    def fit(
        self, arrays: Arrays, source: Block, y: np.ndarray, head: Head, seed: int
    ) -> tuple[FittedConverter, Arrays]:
        """Means of all training rows, and for those rows the means of the other folds."""
        ids = arrays[source.part("value")]
        if head.kind == "softmax":
            y_bn = np.eye(head.width)[y.astype(np.int64)]
        else:
            y_bn = y.astype(np.float64).reshape(len(y), -1)
        prior_n = y_bn.mean(axis=0)
        fitted = FittedTargetEncoding(source, self._means(ids, y_bn, prior_n, source.size))
        fold_b = np.random.default_rng(seed).permutation(len(ids)) % self.config.folds
        value = np.empty((len(ids), fitted.block.size), np.float32)
        for fold in range(self.config.folds):
            inside = fold_b == fold
            value[inside] = self._means(ids[~inside], y_bn[~inside], prior_n, source.size)[ids[inside]]
        return fitted, fitted.named(value, arrays)

    def _means(self, ids: np.ndarray, y_bn: np.ndarray, prior_n: np.ndarray, size: int) -> np.ndarray:
        """The table [size, n] float32 from these rows."""
        sums = np.stack([np.bincount(ids, column, size) for column in y_bn.T], axis=1)
        counts = np.bincount(ids, minlength=size)[:, None]
        table = (sums + self.config.smoothing * prior_n) / (counts + self.config.smoothing)
        table[_UNKNOWN] = prior_n
        return np.asarray(table, np.float32)
