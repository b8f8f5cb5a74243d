"""What answers take on a calm day: what is learnt, and from whom."""

from __future__ import annotations

from luban.serve.guards.calm import BLOCK, BLOCKS, Calm


def blocks(calm: Calm, seconds: float, number: int) -> None:
    for _ in range(number):
        calm.learn([seconds] * BLOCK, lasted_s=BLOCK * seconds)


def test_nothing_is_known_before_a_block_is_full() -> None:
    calm = Calm()
    calm.learn([0.01] * (BLOCK - 1), 10)
    assert calm.median_s is None
    assert calm.p99_s is None


def test_a_busy_moment_teaches_nothing() -> None:
    calm = Calm()
    calm.learn([0.1] * 1000, lasted_s=1.0)
    assert calm.p99_s is None


def test_median_and_tail_of_a_block() -> None:
    calm = Calm()
    calm.learn([0.01] * (BLOCK - 2) + [0.5] * 2, lasted_s=2.0)
    assert (calm.median_s, calm.p99_s) == (0.01, 0.5)


def test_one_bad_block_is_no_new_calm_and_a_slower_model_is() -> None:
    calm = Calm()
    blocks(calm, 0.01, BLOCKS)
    blocks(calm, 0.2, 1)
    assert calm.p99_s == 0.01
    blocks(calm, 0.2, BLOCKS // 2 + 1)
    assert calm.p99_s == 0.2
