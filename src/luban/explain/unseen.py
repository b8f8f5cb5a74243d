"""Which rows a method is asked about, and which model: what is measured by the truth, on rows that the model never saw.

What is lost on rows that a model has learnt says what it relied on to fit them, not what helps it with others (Breiman,
"Random Forests", 2001, permutes out-of-bag rows; Molnar, "Interpretable Machine Learning", on training or test rows).
Decided here: test rows are for figures alone. A model that was fitted again with the validation rows has seen them;
`train` leaves it as it was before (`judged`), and that model is asked in its place, on rows that it did not see. It was
fitted in the same way on fewer rows, and is not compressed. What does not measure by the truth asks the bundle itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID, Dataset, Split
from luban.evaluate.rows import Rows
from luban.explain.base import Case
from luban.train.encode import Rows as Part
from luban.train.encode import TrainData
from luban.train.write import read_judged

Model = Literal["itself", "before", "learnt"]
"""itself: the bundle, on rows that it did not see; before: the model as it was before it was fitted again, on rows that
that one did not see; learnt: the bundle, on rows that it learnt from, for there are no others."""


@dataclass(frozen=True)
class Asked:
    """A case, the ids of its rows, and the model that it asks."""

    case: Case
    ids: Sequence[str]
    model: Model


def to_read(bundle: Bundle, dataset: Dataset, seed: int, most: int, checkpoint: Path | None) -> Asked:
    """The bundle on validation rows, or on training rows where there are no others; at most so many rows."""
    data = TrainData(dataset, bundle.task, seed)
    split: Split = "valid" if dataset.splits.get("valid") else "train"
    refitted = checkpoint is not None and read_judged(checkpoint, data)[1] is not data
    model: Model = "learnt" if refitted or split == "train" else "itself"
    return _asked(bundle, data, Part((split,)), most, checkpoint, model)


def to_measure(read: Asked, dataset: Dataset, most: int) -> Asked:
    """The same, for what is measured by the truth: rows that the model has not seen, where there are any."""
    case = read.case
    if read.model == "itself" or case.checkpoint is None:
        return read
    data = TrainData(dataset, case.bundle.task, case.seed)
    folder, unseen = read_judged(case.checkpoint, data)
    if unseen is data:
        return read
    return _asked(Bundle.load(folder), unseen, unseen.rows["valid"], most, None, "before")


def _asked(bundle: Bundle, data: TrainData, part: Part, most: int, checkpoint: Path | None, model: Model) -> Asked:
    """At most so many rows of a part of the data, drawn by row id, with their targets."""
    rows = Rows.of(data.dataset, *part.parts)
    among = np.arange(sum(data.dataset.splits[name] for name in part.parts)) if part.at is None else np.sort(part.at)
    places = rows.sample(most, data.seed, among)
    fetched = rows.fetch(among[places])
    ids = [str(row.pop(ROW_ID)) for row in fetched]
    values = bundle.values(fetched)
    truth = data.with_rows({**data.rows, "valid": Part(part.parts, among[places])}).y("valid")
    case = Case(bundle, values, truth=truth, seed=data.seed, checkpoint=checkpoint, others=values.columns)
    return Asked(case, ids, model)
