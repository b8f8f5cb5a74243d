"""A bundle's answers to the test rows of a dataset, for gates that compare them.

Knows the bundle's path; decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs of all test rows in order; `answered` [B] bool, and why rows were refused, by position.

    A row without any input is neither answered nor refused: a bundle has nothing to go by.
    """

    outputs: np.ndarray
    answered: np.ndarray
    refused: list[tuple[int, str]]


def whole_path(bundle: Bundle, dataset: Dataset, batch_rows: int = 4096) -> Answers:
    """Stored values → row steps → parse → encode → stages, for all test rows."""
    names = [column.name for column in bundle.schema.inputs if column.name in dataset.schema]
    outputs, answered = [np.zeros((0, bundle.manifest.task.width), np.float32)], [np.zeros(0, bool)]
    refused: list[tuple[int, str]] = []
    start = 0
    for batch in dataset.batches(names, "test", batch_rows=batch_rows):
        values = bundle.values(batch)
        outputs.append(bundle.run(bundle.encode(values.columns)))
        answered.append(np.array([error is None for error in values.errors], bool))
        empty = np.logical_and.reduce([column.is_null().to_numpy(zero_copy_only=False) for column in batch.columns])
        for position, error in enumerate(values.errors):
            if error is not None and not empty[position]:
                refused.append((start + position, error))
        start += batch.num_rows
    return Answers(np.concatenate(outputs), np.concatenate(answered), refused)


def comparable(bundle: Bundle, outputs: np.ndarray) -> np.ndarray:
    """Probabilities [B, C] where the task has them, else the outputs [B, n], which are standardised."""
    scores = bundle.task.scores(outputs, bundle.manifest.task.decoding)
    return scores if scores.ndim == 2 else np.asarray(outputs, dtype=np.float64)
