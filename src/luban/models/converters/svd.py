"""Bag to vector: the leading directions of the training rows' bags (latent semantic analysis).

A truncated SVD by scikit-learn's randomised method (Halko, Martinsson and Tropp 2011), one seed.
Decided here: the bag is small by default, since the table is kept whole in the graph: 20,000 n-grams
in 100 directions take 8 MB. Knows no column type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from luban.catalog import need, searchable
from luban.features.kinds import Arrays, BagConfig, Block, Kind, Want
from luban.models.base import Converter, FittedConverter
from luban.models.converters.tabled import Tabled
from luban.models.products import design, product, single
from luban.tasks.base import Head

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder


class FittedSvd(Tabled):
    """Directions as a table [size of the bag, dims] float32."""

    def convert(self, arrays: Arrays) -> Arrays:
        """`value` [B, dims] float32 and `present`."""
        value = design(arrays, self.source) @ self.table.astype(np.float64)
        return self.named(value.astype(np.float32), arrays)

    def export(self, graph: GraphBuilder) -> str:
        """Gather, then MatMul in double precision."""
        return single(graph, product(graph, self.source, self.table))


class Svd(Converter):
    """The leading directions of a bag."""

    extra: ClassVar[str] = "train"
    takes: ClassVar[Kind] = "bag"
    gives: ClassVar[Kind] = "vector"

    class Config(Converter.Config):
        """How many directions, of which bag."""

        dims: int = searchable(100, 20, 300, log=True, ge=1)
        """Directions that are kept; fewer where the bag or the rows are fewer."""
        bag: BagConfig = BagConfig(ngram_max=2, max_terms=20_000)
        """The n-grams it asks for."""
        num_passes: int = Field(3, ge=0)
        """Power iterations of the randomised method."""

    def wants(self) -> Want:
        """The bag of its config."""
        return Want("bag", self.config.bag)

    def fit(
        self, arrays: Arrays, source: Block, y: np.ndarray, head: Head, seed: int
    ) -> tuple[FittedConverter, Arrays]:
        """Directions of the training rows; y is not looked at, so nothing is cross-fitted."""
        x = design(arrays, source)
        dims = min(self.config.dims, x.shape[0], x.shape[1])
        directions = need("sklearn.utils.extmath", "train").randomized_svd(
            x, dims, n_iter=self.config.num_passes, random_state=seed
        )[2]
        fitted = FittedSvd(source, np.ascontiguousarray(directions.T, np.float32))
        return fitted, fitted.convert(arrays)
