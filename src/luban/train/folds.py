"""Which fold each row is in: drawn by hash, so that other rows do not matter.

Decided here: units (rows that hang together) are drawn by a hash of their name and the seed, apart from the draw of
the split. Where fewer than 30 units of a class are to be expected in a fold, they are dealt out in the order of
their hashes, each to the fold that has the fewest rows of the class so far; so every fold has a class as far as
it goes, and a class of one unit is in one. A unit of mixed classes counts as that of its first row. What hangs
together is what the split held together, and rows of one subject or group, however the split was drawn. Knows
no family; columns by their roles alone.
"""

from __future__ import annotations

import numpy as np

from luban.data.dataset import GROUP
from luban.data.splits import ENOUGH, roots, uniform
from luban.errors import ConfigError, DataError
from luban.tasks.base import Head
from luban.train.encode import Rows, TrainData

_APART = 0x464F4C44
"""Added to the seed, so that folds are drawn apart from the split."""


def draw_folds(units: np.ndarray, strata: np.ndarray, num: int, seed: int) -> np.ndarray:
    """The fold of each row [B] int64, from 0; fewer than `num` where there are fewer units.

    `units` [B] uint64: rows of one number stay together. `strata` [B] int64 are class numbers from 0.
    """
    names, first, unit_of, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    num = min(num, len(names))
    stratum = strata[first]
    chance = uniform(names, seed + _APART)
    fold = np.minimum((chance * num).astype(np.int64), num - 1)
    rough = (np.bincount(stratum, minlength=1) < ENOUGH * num)[stratum]
    in_fold = np.bincount(fold[~rough], weights=sizes[~rough], minlength=num)
    order = np.flatnonzero(rough)
    order = order[np.lexsort((names[order], chance[order], stratum[order]))]
    for members in np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1):
        _deal(members, sizes, fold, in_fold)
    return np.unique(fold, return_inverse=True)[1][unit_of]


def _deal(members: np.ndarray, sizes: np.ndarray, fold: np.ndarray, in_fold: np.ndarray) -> None:
    """Put units of one class, in order, where the fewest rows of it are; of equals where the fewest rows are."""
    of_class = np.zeros(len(in_fold))
    for unit in members.tolist():
        best = int(np.lexsort((in_fold, of_class))[0])
        fold[unit] = best
        of_class[best] += sizes[unit]
        in_fold[best] += sizes[unit]


def strata(y: np.ndarray, head: Head) -> np.ndarray:
    """What each row is dealt out by, [B] int64: its class; the rarest thing true of it where there are several; 0 for
    numbers."""
    if head.kind not in ("binary", "softmax"):
        return np.zeros(len(y), np.int64)
    if y.ndim == 1:
        return y.astype(np.int64)
    true = y > 0.5
    rank = np.argsort(np.argsort(true.sum(axis=0), kind="stable"), kind="stable")
    return np.asarray(np.where(true, true.shape[1] - rank, 0).max(axis=1), np.int64)


def units(data: TrainData, rows: Rows) -> np.ndarray:
    """What each row hangs together by, [B] uint64, by the dataset's groups and columns of role subject or group."""
    group = np.concatenate([_column(data, GROUP, rows), np.zeros(0, np.uint64)]).astype(np.uint64)
    edges = [_same(group)]
    for column in (*data.dataset.schema.of_role("subject"), *data.dataset.schema.of_role("group")):
        found = _column(data, column.name, rows)
        there = np.flatnonzero([value is not None for value in found])
        _, code = np.unique([str(found[i]) for i in there], return_inverse=True)
        at, first = _same(code)
        edges.append((there[at], there[first]))
    root = roots(len(group), edges)
    return group if root is None else group[root]


def _column(data: TrainData, name: str, rows: Rows) -> np.ndarray:
    """A column of these rows as objects or numbers."""
    found = [value for part in rows.parts for value in data.dataset.values(name, part)]
    array = np.array(found, np.uint64 if name == GROUP else object)
    return array if rows.at is None else array[rows.at]


def _same(names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges from each row to the first of its name."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    rows = np.arange(len(names))
    return rows, first[inverse]


def folds_of(data: TrainData, num: int) -> np.ndarray:
    """The fold of each of the training rows [B] int64.

    Raises ConfigError where the split is by time (a fold would be predicted from its future), DataError where all
    rows hang together.
    """
    if data.dataset.report["split"]["by"] == "time":
        raise ConfigError(
            "`train.folds` must be left out where the split is by time: a fold would be predicted from its future.",
            "Leave it out, or split another way: `prepare.split.by`.",
        )
    fold = draw_folds(units(data, data.rows["train"]), strata(data.y("train"), data.head), num, data.seed)
    if len(fold) == 0 or fold.max() == 0:
        raise DataError(
            "`train.folds` must find two rows or more that do not hang together, but all are one unit.",
            "Leave `train.folds` out, or collect rows of more subjects or groups.",
        )
    return fold
