"""Which rows meet in a batch: drawn anew each epoch from the seed and the epoch's number alone.

Decided here:

- every row comes once an epoch; batches differ by one row at most, so none is nearly empty;
- in buckets, rows are shuffled, cut into pools of `POOL` batches, sorted by length within each pool, cut
  into batches, and the batches shuffled: little is padded, and which rows meet still changes;
- nothing is carried from epoch to epoch, so the sampler's position is a number.

Knows no arrays, only lengths.
"""

from __future__ import annotations

import numpy as np

POOL = 50
"""Batches that are sorted together: more pad less and mix less."""


def num_batches(num_rows: int, batch_rows: int) -> int:
    """Batches of an epoch."""
    return -(-num_rows // batch_rows)


def batches(lengths: np.ndarray, batch_rows: int, bucket: bool, seed: int, epoch: int) -> list[np.ndarray]:
    """The rows (positions int64) of each batch of an epoch; `lengths` [B] int64.

    >>> drawn = batches(np.array([9, 1, 8, 2]), 2, True, 0, 0)
    >>> sorted(sorted(batch.tolist()) for batch in drawn)
    [[0, 2], [1, 3]]
    """
    count = num_batches(len(lengths), batch_rows)
    rng = np.random.default_rng([seed, epoch])
    rows = rng.permutation(len(lengths))
    if not bucket or count < 2:
        return np.array_split(rows, max(count, 1))
    ends = np.cumsum([len(part) for part in np.array_split(rows, count)])
    found: list[np.ndarray] = []
    for first in range(0, count, POOL):
        last = min(first + POOL, count)
        start = int(ends[first - 1]) if first else 0
        pool = rows[start : ends[last - 1]]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += np.split(pool, ends[first : last - 1] - start)
    return [found[i] for i in rng.permutation(count)]
