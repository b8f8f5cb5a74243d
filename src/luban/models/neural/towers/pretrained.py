"""The tower `pretrained`: a BERT-style encoder with its own tokenizer and weights, trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from luban.catalog import searchable
from luban.features.kinds import Block, TokensConfig, Want
from luban.features.pretrained import PretrainedFiles
from luban.models.neural.towers.base import Tower

if TYPE_CHECKING:
    from luban.models.neural.nets.base import Net


class Pretrained(Tower):
    """A BERT-style encoder from a folder, a hub or a mirror, trained on for this task."""

    recipe: ClassVar[dict[str, Any]] = {"learning_rate": 3e-4, "epochs": 4, "layer_decay": 0.65, "batch_rows": 16}

    class Config(Tower.Config):
        """Which encoder, and how it is read."""

        model: PretrainedFiles
        """The encoder: `config.json`, `tokenizer.json` and weights as safetensors, in a folder or on a hub."""
        max_tokens: int = Field(128, ge=3)
        """Tokens of a value that are read, marks included; what is cut is counted."""
        pool: Literal["mean", "first"] = searchable("mean")
        """What stands for the sequence: the mean of its tokens, or the first."""
        dropout: float = searchable(0.1, 0.0, 0.5, ge=0, lt=1)
        """Share of figures that is left out in training."""

    def want(self) -> Want:
        """Tokens, by the encoder's own tokenizer."""
        return Want("tokens", TokensConfig(tokenizer=self.config.model, max_tokens=self.config.max_tokens))

    def build(self, block: Block) -> Net:
        """The net with its pretrained weights."""
        from luban.models.neural.bert import load

        c = self.config
        return load(c.model, block, c.max_tokens, c.pool, c.dropout)
