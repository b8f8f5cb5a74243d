"""The tower `bag`: the weighted sum of embeddings of n-grams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from luban.catalog import searchable
from luban.features.kinds import BagConfig, Block, Want
from luban.models.neural.towers.base import Tower

if TYPE_CHECKING:
    from luban.models.neural.nets.base import Net


class Bag(Tower):
    """The weighted sum of embeddings of n-grams; order is seen only within an n-gram; the fastest."""

    recipe: ClassVar[dict[str, Any]] = {"learning_rate": 2e-3, "epochs": 4, "batch_rows": 64}

    class Config(Tower.Config):
        """What it reads, and how large it is."""

        bag: BagConfig = BagConfig(ngram_max=2, max_terms=50_000)
        """The n-grams it asks for."""
        dims: int = searchable(64, 16, 256, log=True, ge=1)
        """Size of an embedding."""

    def want(self) -> Want:
        """A bag."""
        return Want("bag", self.config.bag)

    def build(self, block: Block) -> Net:
        """The net, drawn at random."""
        from luban.models.neural.nets.simple import BagNet

        return BagNet(block, self.config.dims)
