"""The tower `conv`: convolutions of several widths over tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from luban.catalog import searchable
from luban.features.kinds import Block, TokensConfig, Want
from luban.models.neural.towers.base import Tower

if TYPE_CHECKING:
    from luban.models.neural.nets.base import Net


class Conv(Tower):
    """Convolutions side by side over embeddings, each pooled by its maximum; from scratch, fast."""

    recipe: ClassVar[dict[str, Any]] = {"learning_rate": 2e-3, "epochs": 6, "batch_rows": 64}

    class Config(Tower.Config):
        """What it reads, and how large it is."""

        tokens: TokensConfig = TokensConfig()
        """The tokens it asks for."""
        dims: int = searchable(128, 32, 256, log=True, ge=1)
        """Size of an embedding."""
        widths: tuple[int, ...] = Field((2, 3, 4, 5), min_length=1)
        """Entries that a convolution sees at once."""
        filters: int = searchable(100, 32, 256, log=True, ge=1)
        """Filters of each width."""
        dropout: float = searchable(0.3, 0.0, 0.5, ge=0, lt=1)
        """Share of embeddings' figures that is left out in training."""

    def want(self) -> Want:
        """Tokens."""
        return Want("tokens", self.config.tokens)

    def build(self, block: Block) -> Net:
        """The net, drawn at random."""
        from luban.models.neural.nets.conv import ConvNet

        c = self.config
        return ConvNet(block, c.dims, c.widths, c.filters, c.dropout)
