"""What `loop` trains, with PyTorch alone: rows, a model that waits for its turn before each training step.

Decided here: every contender is a process of its own that trains the same model on the same rows; before a step it
says how long the last one took, by the clock and of the processor, and waits until it is told to go on. So one alone
works at any time, and load on the machine falls on all alike. A step is all from one training forward pass to the next.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import torch
from torch import Tensor, nn

TERMS, LENGTH, ROWS, VALID, BATCH = 500, 32, 8192, 256, 32
SIZES = {"tiny": (16, 0, 16), "20 ms": (192, 2, 768)}
"""Width, layers, inner width; the second makes steps of more than 20 ms on one core of a current processor."""
LEARNING_RATE, WEIGHT_DECAY, CLIP, EVERY = 1e-3, 0.01, 1.0, 50


class Turns:
    """Waits for a line on standard input before each step, and says how long the step before took."""

    def __init__(self) -> None:
        self._start, self._cpu = 0.0, 0.0

    def __call__(self) -> None:
        """A step is about to begin."""
        now, cpu = time.perf_counter(), time.process_time()
        print(f"step {now - self._start} {cpu - self._cpu}", flush=True)
        if sys.stdin.readline() != "go\n":
            raise SystemExit(0)
        self._start, self._cpu = time.perf_counter(), time.process_time()


class Model(nn.Module):
    """A transformer over tokens, and the mean of it; takes [B, L] int64, gives logits [B, 2] and a loss."""

    def __init__(self, size: str) -> None:
        super().__init__()
        width, layers, inner = SIZES[size]
        self.table = nn.Embedding(TERMS, width)
        layer = nn.TransformerEncoderLayer(width, 4, inner, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False) if layers else nn.Identity()
        self.head = nn.Linear(width, 2)
        self.turns = Turns()

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        """Logits, and the loss of each row where labels are given."""
        if self.training:
            self.turns()
        logits = self.head(self.body(self.table(ids)).mean(dim=1))
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels, reduction="none"), "logits": logits}


def rows() -> tuple[Tensor, Tensor]:
    """Tokens [ROWS + VALID, L] and classes: whether the first half of the vocabulary is seen more often."""
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(TERMS, (ROWS + VALID, LENGTH), generator=chance)
    return ids, ((ids < TERMS // 2).float().mean(dim=1) > 0.5).long()
