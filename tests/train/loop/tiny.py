"""A tiny learner: rows of tokens and numbers, an embedding, a hidden layer, dropout, a head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from luban.models.base import FitContext
from luban.models.neural.learner import Learner, Perturb
from luban.models.neural.recipe import Recipe
from luban.tasks.base import Head

TERMS, WIDTH = 30, 8


class Net(nn.Module):
    """Mean of embeddings, a layer with norm and dropout, a head."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(TERMS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ids: Tensor, mask: Tensor, perturb: Perturb | None) -> Tensor:
        x = self.table(ids)
        if perturb is not None:
            x = perturb("text", x)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        return self.head(self.drop(torch.tanh(self.hidden(self.norm(mean))))).squeeze(-1)


class Tiny(Learner):
    """Learns whether a text has more terms of the upper half; the last `valid` rows are for validation."""

    def __init__(self, rows: int = 90, valid: int = 30, dropout: float = 0.2, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.texts = [rng.integers(0, TERMS, rng.integers(1, 12)) for _ in range(rows + valid)]
        self.y = torch.tensor([float((t >= TERMS // 2).mean() > 0.5) for t in self.texts])
        self.num_rows, self.num_valid = rows, valid
        self.lengths = np.array([len(t) for t in self.texts[:rows]])
        torch.manual_seed(seed)
        self.module = Net(dropout)
        self.frozen = 0
        self.asked: list[np.ndarray] = []

    def outputs(self, rows: Sequence[int] | np.ndarray, perturb: Perturb | None = None) -> Tensor:
        texts = [self.texts[i] for i in rows]
        width = max(map(len, texts))
        ids = torch.tensor(np.stack([np.pad(t, (0, width - len(t))) for t in texts]))
        mask = torch.tensor([[j < len(t) for j in range(width)] for t in texts])
        out: Tensor = self.module(ids, mask, perturb)
        return out

    def losses(self, rows: np.ndarray, recipe: Recipe, perturb: Perturb | None = None) -> Tensor:
        self.asked.append(rows)
        y = self.y[rows] * (1 - recipe.label_smoothing) + recipe.label_smoothing / 2
        return nn.functional.binary_cross_entropy_with_logits(self.outputs(rows, perturb), y, reduction="none")

    def validate(self) -> float:
        assert not self.module.training
        if not self.num_valid:
            return float("nan")
        rows = range(self.num_rows, self.num_rows + self.num_valid)
        loss = nn.functional.binary_cross_entropy_with_logits(self.outputs(rows), self.y[self.num_rows :])
        return float(loss.detach())

    def layers(self) -> Sequence[Sequence[str]]:
        return [["table.weight"], ["norm.weight", "norm.bias", "hidden.weight", "hidden.bias"], HEAD]

    def freeze(self, count: int) -> None:
        self.frozen = count

    def weights(self) -> dict[str, np.ndarray]:
        return {name: value.detach().numpy().copy() for name, value in self.module.named_parameters()}


HEAD = ["head.weight", "head.bias"]


@dataclass
class Ledger:
    """Decisions, kept as JSON would keep them."""

    kept: dict[str, Any] = field(default_factory=dict)

    def __call__(self, key: str, make: Callable[[], Any]) -> Any:
        import json

        if key not in self.kept:
            self.kept[key] = json.loads(json.dumps(make(), allow_nan=False))
        return self.kept[key]


@dataclass
class Place:
    """Unfinished work in memory; `limit` is how many writes are taken before the process "dies"."""

    data: bytes | None = None
    limit: int | None = None
    writes: int = 0

    def read(self) -> bytes | None:
        return self.data

    def write(self, data: bytes) -> None:
        if self.limit is not None and self.writes >= self.limit:
            raise KeyboardInterrupt
        self.data = data
        self.writes += 1


def context(valid: int = 30, **changes: Any) -> FitContext:
    """What a loop reads of a context."""
    made = FitContext(
        head=Head("binary", 1),
        blocks=(),
        valid={},
        y_valid=np.zeros(valid),
        seed=3,
        num_threads=1,
        loss=lambda outputs, y: 0.0,
        decide=Ledger(),
    )
    return replace(made, **changes)


def bits(history: Sequence[Any]) -> list[dict[str, str]]:
    """A history's numbers to the last bit."""
    return [{key: float(value).hex() for key, value in row.items()} for row in history]
