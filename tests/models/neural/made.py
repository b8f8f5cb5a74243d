"""Made-up rows of tokens, a bag, an index and numbers, and fitted networks on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from luban.checks.families import recorder
from luban.features.kinds import Arrays, Block
from luban.models.base import FitContext
from luban.models.neural.family import Neural
from luban.models.neural.fitted import FittedNet
from luban.train.loop import loop

from .. import made as tables

TOKENS = Block("text/tokens/aa", "tokens", "text", 24)
BLOCKS = (TOKENS, tables.INDEX, tables.VECTOR)
HEADS = tables.HEADS


def arrays(rows: int = 120, seed: int = 0) -> Arrays:
    """Rows of TOKENS, BAG, INDEX and VECTOR; the first row's lists are empty."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 12, rows)
    lengths[0] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    parts = {
        "ids": rng.integers(1, TOKENS.size, offsets[-1]),
        "mask": np.ones(offsets[-1], bool),
        "offsets": offsets,
        "present": lengths > 0,
    }
    return tables.arrays(rows, seed) | {TOKENS.part(name): array for name, array in parts.items()}


def target(made: Arrays, kind: str) -> np.ndarray:
    """A y of head `kind`: how many more low entries than high ones a sequence has, and the category."""
    offsets = made[TOKENS.part("offsets")]
    signs = np.append(np.where(made[TOKENS.part("ids")] < 12, 1.0, -1.0), 0.0)
    z = np.add.reduceat(signs, np.minimum(offsets[:-1], len(signs) - 1)) * (np.diff(offsets) > 0)
    z = z + (made[tables.INDEX.part("value")] - 4) * 0.5
    if kind == "binary":
        return (z > 0).astype(np.float32)
    if kind == "softmax":
        return np.digitize(z, [-1.0, 1.0]).astype(np.int64)
    return (z / 3).astype(np.float32)


def context(kind: str, blocks: tuple[Block, ...] = BLOCKS, **changed: Any) -> FitContext:
    """A fit context with validation rows and the real training loop."""
    valid = arrays(60, seed=7)
    settings: dict[str, Any] = {
        "head": HEADS[kind],
        "blocks": blocks,
        "valid": valid,
        "y_valid": target(valid, kind),
        "seed": 0,
        "num_threads": 1,
        "loss": tables.loss(HEADS[kind]),
        "decide": recorder({}),
        "loop": loop,
    }
    return FitContext(**{**settings, **changed})


def family(tower: Any = "conv", epochs: int = 3, **settings: Any) -> Neural:
    """A neural family that trains briefly."""
    recipe = {"epochs": epochs, "precision": "fp32", **settings.pop("recipe", {})}
    return Neural(Neural.Config.model_validate({"tower": tower, "recipe": recipe, **settings}))


def fit(made: Neural, kind: str, given: FitContext, rows: Arrays | None = None) -> FittedNet:
    """The family fitted on made rows."""
    train = arrays() if rows is None else rows
    model = made.fit(train, target(train, kind), given)
    assert isinstance(model, FittedNet)
    return model


def untrained(kind: str, change: Callable[[Any], None] = lambda learner: None) -> Any:
    """A loop that trains nothing: it looks at the learner."""
    from luban.models.neural.learner import Trained

    def look(learner: Any, recipe: Any, given: Any) -> Trained:
        change(learner)
        return Trained(0, 0, 0.0)

    return look
