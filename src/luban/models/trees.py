"""Boosted trees (LightGBM) over numbers; text and categories reach them through converters.

Decided here:

- trees are grown on float32 inputs, unscaled, missing values as NaN: what the graph will see;
- rounds are bounded and stopped early on validation rows, which decides the same way every time
  (`deterministic`, `force_row_wise`, one seed), whatever the number of threads; a budget of seconds can
  stop them too, so the number of rounds is a decision, recorded and replayed;
- what is kept is the model text (checkpoint) and its nodes in columns (graph); no pickle.

It knows no column type and no task.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from luban.catalog import need, searchable
from luban.errors import DataError
from luban.features.kinds import Arrays, Block, Kind, VectorConfig, Want
from luban.models.base import Family, FitContext, Fitted, Reading, Refusal
from luban.models.baseline import FittedConstant
from luban.models.tree_graph import TreeNodes, ensemble
from luban.tasks.base import Head
from luban.tasks.classes import log_odds

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder

_OBJECTIVES = {"binary": "binary", "softmax": "multiclass", "real": "regression"}
_MANY = 100_000
"""Rows times outputs from which steps are larger."""


CELLS_PER_THREAD = 500_000
"""Numbers in the training matrix that are worth a thread."""


class FittedTrees(Fitted):
    """A booster and the blocks it reads. `notes` says where early stopping ended."""

    def __init__(self, booster: Any, blocks: tuple[Block, ...], head: Head, rounds: int, num_threads: int) -> None:
        super().__init__()
        self._booster = booster
        self._blocks = blocks
        self._head = head
        self.rounds = rounds
        self._num_threads = num_threads
        self.notes = f"{rounds} rounds of trees"

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float64."""
        x_bd = matrix(arrays, self._blocks)
        raw = self._booster.predict(x_bd, raw_score=True, num_iteration=self.rounds, num_threads=self._num_threads)
        return np.asarray(raw, np.float64).reshape(len(x_bd), self._head.width)

    def export(self, graph: GraphBuilder) -> str:
        """One ensemble node over all blocks side by side."""
        inputs = [graph.take(block, "value") for block in self._blocks]
        return ensemble(graph, inputs, self._nodes(), self._head.width)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """`model`: LightGBM's own text of the model, as bytes."""
        text = self._booster.model_to_string(num_iteration=self.rounds)
        return {"model": np.frombuffer(text.encode("utf-8"), np.uint8)}

    def _nodes(self) -> dict[str, np.ndarray]:
        return TreeNodes.of(self._booster.dump_model(num_iteration=self.rounds), self._head.width).arrays()


class FittedColumns(Fitted):
    """Models of one output each, side by side."""

    def __init__(self, columns: Sequence[Fitted]) -> None:
        super().__init__()
        self._columns = tuple(columns)
        rounds = [column.rounds for column in self._columns if isinstance(column, FittedTrees)]
        self.notes = f"{min(rounds)} to {max(rounds)} rounds of trees" if rounds else "constants alone"

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float64."""
        return np.concatenate([np.asarray(column.predict(arrays), np.float64) for column in self._columns], axis=1)

    def export(self, graph: GraphBuilder) -> str:
        """The models' outputs side by side."""
        return graph.node("Concat", [column.export(graph) for column in self._columns], axis=1)

    def checkpoint(self) -> dict[str, np.ndarray]:
        """What each model keeps, its number before the name."""
        return {f"{i}.{k}": v for i, column in enumerate(self._columns) for k, v in column.checkpoint().items()}


def matrix(arrays: Arrays, blocks: Sequence[Block]) -> np.ndarray:
    """The blocks' vectors side by side: [B, sum of widths] float32."""
    return np.concatenate([arrays[block.part("value")] for block in blocks], axis=1, dtype=np.float32)


class Trees(Family):
    """Gradient boosting by LightGBM."""

    extra: ClassVar[str] = "train"
    heads: ClassVar[tuple[str, ...]] = ("binary", "softmax", "real")
    weighs: ClassVar[bool] = True
    exempt: ClassVar[dict[str, str]] = {
        "weights_are_rows": "LightGBM draws rows for each tree, and counts them for the size of a leaf, by row"
    }

    class Config(Reading):
        """How trees are grown."""

        learning_rate: float = searchable(0.05, 0.01, 0.3, log=True, gt=0, le=1)
        """Share of each tree that is added."""
        max_rounds: int = Field(2000, ge=1)
        """Rounds at most; validation rows stop earlier."""
        patience_rounds: int = Field(100, ge=1)
        """Rounds without a better validation loss before stopping."""
        leaves: int = searchable(31, 4, 128, log=True, ge=2, le=4096)
        """Leaves of a tree."""
        min_rows_per_leaf: int = searchable(5, 1, 100, log=True, ge=1)
        """Training rows in a leaf, at least."""
        l2: float = searchable(1.0, 0.001, 100.0, log=True, ge=0)
        """L2 penalty on leaf values."""
        column_share: float = searchable(0.7, 0.3, 1.0, gt=0, le=1)
        """Share of columns drawn for each split."""
        row_share: float = searchable(0.8, 0.5, 1.0, gt=0, le=1)
        """Share of rows drawn for each tree."""

    def wants(self, head: Head) -> Sequence[Want] | Refusal:
        """Numbers as they are."""
        if head.width > 1 and head.kind == "real":
            return Refusal(f"trees have one number, but the target has {head.width}")
        return (Want("vector", VectorConfig(scale="none", missing="nan")),)

    def fit(self, arrays: Arrays, y: np.ndarray, context: FitContext) -> Fitted:
        """Grow trees until validation rows gain no more. Raises DataError where y has one class only."""
        head = context.head
        if head.kind == "binary" and head.width > 1:
            return self._columns(arrays, y, context)
        if head.kind != "real" and len(np.unique(y)) < 2:
            raise DataError("Training rows must show at least two classes, but they all have the same.")
        lightgbm = need("lightgbm", "train")
        x = matrix(arrays, context.blocks)
        train = lightgbm.Dataset(x, y.reshape(-1), weight=context.weights, free_raw_data=True)
        grown: list[Any] = []

        def grow() -> int:
            grown.append(self._grow(train, context, self._parameters(context, x)))
            booster = grown[0]
            return int(booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration())

        rounds = int(context.decide("rounds", grow))
        booster = grown[0] if grown else lightgbm.train(self._parameters(context, x), train, rounds)
        return FittedTrees(booster, context.blocks, head, rounds, context.num_threads)

    def _columns(self, arrays: Arrays, y_bn: np.ndarray, context: FitContext) -> Fitted:
        """Trees of its own for each column of y; its log-odds where all rows of a column are alike."""
        found: list[Fitted] = []
        for number, y in enumerate(np.ascontiguousarray(y_bn.T)):
            if y.min() == y.max():
                found.append(FittedConstant(log_odds(y[:, None]), context.blocks[0]))
                continue
            found.append(self.fit(arrays, y, _one_column(context, number)))
        return FittedColumns(found)

    def _grow(self, train: Any, context: FitContext, parameters: dict[str, Any]) -> Any:
        """A booster, stopped by validation rows, the bound on rounds, or the clock."""
        lightgbm = need("lightgbm", "train")
        sets, callbacks = [], [_Report(context, self.config.max_rounds)]
        if len(context.y_valid):
            valid = matrix(context.valid, context.blocks)
            y_valid = context.y_valid.reshape(-1)
            sets = [lightgbm.Dataset(valid, y_valid, weight=context.valid_weights, reference=train)]
            callbacks.append(lightgbm.early_stopping(self.config.patience_rounds, verbose=False))
        return lightgbm.train(parameters, train, self.config.max_rounds, valid_sets=sets, callbacks=callbacks)

    def _parameters(self, context: FitContext, x: np.ndarray) -> dict[str, Any]:
        config, head = self.config, context.head
        # On small tables threads wait for each other longer than they work; the trees are the same.
        threads = min(context.num_threads, 1 + x.size // CELLS_PER_THREAD)
        classes = {"num_class": head.width} if head.kind == "softmax" else {}
        return classes | {
            "objective": _OBJECTIVES[head.kind],
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_data_in_leaf": config.min_rows_per_leaf,
            "lambda_l2": config.l2,
            "feature_fraction_bynode": config.column_share,
            "bagging_fraction": config.row_share,
            "bagging_freq": 1 if config.row_share < 1 else 0,
            "num_threads": threads,
            "seed": context.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def variants(self, num_rows: int, head: Head, kinds: frozenset[Kind] = frozenset()) -> Sequence[dict[str, Any]]:
        """Slow and careful first, then many small trees. Once where all is converted text."""
        # Trees a round are as many as classes: what would grow for minutes takes larger steps.
        steps = {"learning_rate": 0.1} if num_rows * head.width > _MANY else {}
        if kinds == {"bag"}:
            return (steps,)
        small = {"leaves": 4, "learning_rate": 0.1}
        return (steps, small, steps | {"leaves": 15, "min_rows_per_leaf": 3})


def _one_column(context: FitContext, number: int) -> FitContext:
    """The context of one column of y, as one model of two classes sees it."""
    width = context.head.width
    return replace(
        context,
        head=Head("binary", 1),
        y_valid=np.ascontiguousarray(context.y_valid[:, number]),
        seconds_left=context.seconds_left / width,
        decide=lambda key, make: context.decide(f"{number}:{key}", make),
        progress=lambda what, share: context.progress(what, (number + share) / width),
    )


class _Report:
    """LightGBM's callback that tells how far training is, and stops it when time is over."""

    before_iteration = False
    order = 5

    def __init__(self, context: FitContext, max_rounds: int) -> None:
        self._progress = context.progress
        self._max_rounds = max_rounds
        self._end = time.monotonic() + context.seconds_left

    def __call__(self, env: Any) -> None:
        if env.iteration % 10 == 0:
            self._progress("growing trees", env.iteration / self._max_rounds)
        if time.monotonic() > self._end:
            raise need("lightgbm.callback", "train").EarlyStopException(env.iteration, env.evaluation_result_list)
