"""Rare classes: weights, resampling or logit adjustment, for any family; probabilities stay honest.

    kind               training rows                                      answers
    weights            weigh w of their class                             most probable after times w
    oversample         of rarer classes stand several times               the same
    undersample        of more frequent classes are left out              the same
    logit-adjustment   as they are                                        the same

w is how much rarer a class is than the most frequent one, to the power of `strength`, at most `max_ratio`.
Decided here:

- a model that learnt from weighed or resampled rows believes that classes are as frequent as it saw them, so what
  was put into its outputs is taken out again (King and Zeng 2001), in the graph: validation and test rows are
  never touched, calibration is fitted on them, and probabilities mean what they say;
- what is answered is another question: that takes the class of the greatest probability times w (Elkan 2001; with
  unweighed rows Menon et al. 2021, post hoc), unless the task states a threshold;
- a family that knows no weights is given resampled rows, and its notes say so;
- rows are drawn by a hash of their id and the seed: other rows, batches or workers change nothing.

Names no family and no task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from luban.data.dataset import ROW_ID
from luban.data.splits import uniform
from luban.errors import ConfigError
from luban.features.kinds import Arrays, take
from luban.models.base import Family, FitContext, Fitted
from luban.tasks.base import Decoding, Head, Task
from luban.train.config import Imbalance

if TYPE_CHECKING:
    from luban.bundle.graph import GraphBuilder
    from luban.train.encode import TrainData

_APART = 0x42414C41
"""Added to the seed, so that rows are drawn apart from the split."""


def class_weights(imbalance: Imbalance, counts: np.ndarray) -> np.ndarray:
    """The weight [C] of each class that has so many rows [C]; 1 for the most frequent one.

    >>> from luban.train.config import Imbalance
    >>> class_weights(Imbalance(kind="weights"), np.array([90, 10, 0]))
    array([1., 9., 9.])
    """
    there = counts > 0
    found = np.ones(len(counts))
    if there.any():
        found[there] = np.minimum((counts.max() / counts[there]) ** imbalance.strength, imbalance.max_ratio)
        found[~there] = found[there].max()
    return found


def check(imbalance: Imbalance, task: Task, y: np.ndarray, head: Head) -> None:
    """Raises ConfigError where a task has no classes to balance, or nothing would come of it."""
    if imbalance.kind == "none":
        return
    found = task.class_numbers(y, head)
    if found is None:
        raise ConfigError(
            f"`train.imbalance` must be none for the task `{task.kind}`, but is {imbalance.kind}: its rows are not of "
            "one class each.",
            "Take it out. Tags have a threshold each, chosen on validation rows.",
        )
    decoding: Decoding = {"threshold": 0.5}
    if imbalance.kind == "logit-adjustment" and task.favour(decoding, np.zeros(found[1])) is decoding:
        raise ConfigError(
            "`train.imbalance` must not be logit-adjustment where `task.threshold` is stated: both say what is "
            "answered.",
            "Leave one of the two out.",
        )


def favour(imbalance: Imbalance, task: Task, decoding: Decoding, y: np.ndarray, head: Head) -> Decoding:
    """The decoding that answers with regard to rare classes; y is of the rows that training learns from."""
    found = None if imbalance.kind == "none" else task.class_numbers(y, head)
    if found is None:
        return decoding
    numbers, count = found
    return task.favour(decoding, np.log(class_weights(imbalance, np.bincount(numbers, minlength=count))))


def fit_balanced(family: Family, arrays: Arrays, y: np.ndarray, context: FitContext, data: TrainData) -> Fitted:
    """`family.fit` on weighed or resampled training rows, with what that did to the outputs taken out again."""
    imbalance = data.imbalance
    if imbalance.kind in ("none", "logit-adjustment") or family.votes:
        return family.fit(arrays, y, context)
    found = data.task.class_numbers(y, data.head)
    assert found is not None, "checked before training"
    numbers, count = found
    of_class = class_weights(imbalance, np.bincount(numbers, minlength=count))
    weights = of_class[numbers]
    shift = shift_of(weights, of_class, y, data.head)
    loss = context.loss
    context = replace(context, loss=lambda outputs, truth: loss(outputs - shift, truth))
    if imbalance.kind == "weights" and family.weighs:
        valid = data.task.class_numbers(context.y_valid, data.head)
        assert valid is not None, "checked before training"
        mean = weights.mean()
        context = replace(context, weights=weights / mean, valid_weights=of_class[valid[0]] / mean)
        return Corrected(family.fit(arrays, y, context), shift, "")
    names = np.array([int(name[:16], 16) for name in data.values(ROW_ID, "train")], np.uint64)
    least = weights.max() if imbalance.kind == "undersample" else weights.min()
    rows = resampled(names, weights / least, data.seed)
    said = "" if imbalance.kind != "weights" else ", since this family knows no weights"
    note = f"{len(rows):,} rows drawn of {len(y):,}{said}"
    return Corrected(family.fit(take(arrays, rows), y[rows], context), shift, note)


def resampled(names: np.ndarray, copies: np.ndarray, seed: int) -> np.ndarray:
    """Positions [M] int64, ascending, in which row i stands `copies` [B] times on average.

    A row's number is its whole part, and one more where a number drawn by its name [B] uint64 is below the rest.
    """
    whole = np.floor(copies)
    more = uniform(names, seed + _APART) < copies - whole
    return np.repeat(np.arange(len(names)), whole.astype(np.int64) + more)


def shift_of(weights: np.ndarray, of_class: np.ndarray, y: np.ndarray, head: Head) -> np.ndarray:
    """What weights [B] of rows add to the outputs [n] of a model that learnt with them.

    Exact where all rows of one side weigh the same; of ordered classes the mean on each side of a step.
    """
    if head.kind == "softmax":
        return np.asarray(np.log(of_class))
    y_bn = y.reshape(len(y), -1) > 0.5
    above, below = (
        np.where(side, weights[:, None], 0.0).sum(axis=0) / side.sum(axis=0).clip(1) for side in (y_bn, ~y_bn)
    )
    return np.where((above > 0) & (below > 0), np.log(np.maximum(above, 1e-12) / np.maximum(below, 1e-12)), 0.0)


class Corrected(Fitted):
    """A model whose outputs have `shift` [n] taken off."""

    def __init__(self, model: Fitted, shift: np.ndarray, note: str) -> None:
        super().__init__()
        self._model = model
        self._shift = np.asarray(shift, np.float32)
        self.notes = "; ".join(filter(None, [getattr(model, "notes", ""), note]))

    def predict(self, arrays: Arrays) -> np.ndarray:
        """Outputs [B, n] float64."""
        return np.asarray(self._model.predict(arrays), np.float64) - self._shift

    def export(self, graph: GraphBuilder) -> str:
        """The model's graph, and one subtraction."""
        return graph.node("Sub", [self._model.export(graph), graph.constant(self._shift)])

    def checkpoint(self) -> dict[str, np.ndarray]:
        """What the model keeps, and `imbalance.shift`."""
        return {**self._model.checkpoint(), "imbalance.shift": self._shift}
