"""Batches cover each row once an epoch, are drawn anew, and keep rows of like length together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from luban.train.loop.order import POOL, batches, num_batches

LENGTHS = st.lists(st.integers(0, 500), min_size=1, max_size=400)


@given(LENGTHS, st.integers(1, 40), st.booleans(), st.integers(0, 9), st.integers(0, 3))
def test_each_row_comes_once(lengths: list[int], size: int, bucket: bool, seed: int, epoch: int) -> None:
    drawn = batches(np.array(lengths), size, bucket, seed, epoch)
    assert sorted(np.concatenate(drawn).tolist()) == list(range(len(lengths)))
    assert len(drawn) == num_batches(len(lengths), size)
    counts = [len(rows) for rows in drawn]
    assert max(counts) <= size
    assert max(counts) - min(counts) <= 1
    again = batches(np.array(lengths), size, bucket, seed, epoch)
    assert all((a == b).all() for a, b in zip(drawn, again, strict=True))


@given(st.integers(0, 20), st.booleans())
def test_drawn_anew_each_epoch_and_for_each_seed(seed: int, bucket: bool) -> None:
    lengths = np.arange(200) % 17
    draws = [np.concatenate(batches(lengths, 8, bucket, s, e)).tolist() for s, e in ((seed, 0), (seed, 1), (99, 0))]
    assert len({tuple(draw) for draw in draws}) == 3


def test_buckets_pad_little_and_still_mix() -> None:
    lengths = np.random.default_rng(0).lognormal(3.5, 0.8, 5000).astype(np.int64) + 1

    def padded(bucket: bool) -> float:
        drawn = batches(lengths, 32, bucket, 0, 0)
        return sum(len(rows) * lengths[rows].max() for rows in drawn) / lengths.sum()

    assert padded(True) < 1.15
    assert padded(False) > 1.5
    first, second = ({frozenset(rows.tolist()) for rows in batches(lengths, 32, True, 0, epoch)} for epoch in (0, 1))
    assert not first & second
    means = [lengths[rows].mean() for rows in batches(lengths, 32, True, 0, 0)]
    assert np.abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3, "long batches are spread over the epoch"
    assert POOL * 32 < 5000, "more pools than one were tried"
