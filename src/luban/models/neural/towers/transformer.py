"""The tower `transformer`: a small attention encoder from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from luban.catalog import searchable
from luban.features.kinds import Block, TokensConfig, Want
from luban.models.neural.towers.base import Tower

if TYPE_CHECKING:
    from luban.models.neural.nets.base import Net


class Transformer(Tower):
    """Layers of attention over embeddings with positions, from scratch."""

    recipe: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "epochs": 8, "batch_rows": 64, "l2": 0.05}

    class Config(Tower.Config):
        """What it reads, and how large it is."""

        tokens: TokensConfig = TokensConfig()
        """The tokens it asks for."""
        dims: int = Field(128, ge=2)
        """Size of an embedding and of every layer; a multiple of `heads`."""
        heads: int = Field(4, ge=1)
        """Attention heads of a layer."""
        layers: int = searchable(2, 1, 4, ge=1, le=48)
        """Layers."""
        feed: int = Field(256, ge=1)
        """Inner size of a layer's second half."""
        positions: Literal["learned", "sinusoidal"] = "learned"
        """How places are told apart."""
        pool: Literal["mean", "first"] = searchable("mean")
        """What stands for the sequence: the mean of its entries, or the first."""
        dropout: float = searchable(0.1, 0.0, 0.5, ge=0, lt=1)
        """Share of figures that is left out in training."""

        @model_validator(mode="after")
        def _heads_divide_dims(self) -> Self:
            if self.dims % self.heads:
                raise ValueError(f"`dims` must be a multiple of `heads` ({self.heads}), but got {self.dims}")
            return self

    def want(self) -> Want:
        """Tokens."""
        return Want("tokens", self.config.tokens)

    def build(self, block: Block) -> Net:
        """The net, drawn at random."""
        from luban.models.neural.nets.transformer import Shape, TransformerNet

        c = self.config
        shape = Shape(
            c.dims,
            c.heads,
            c.layers,
            c.feed,
            positions=c.tokens.max_tokens,
            sinusoidal=c.positions == "sinusoidal",
            pool=c.pool,
        )
        return TransformerNet(block, shape, c.dropout)
