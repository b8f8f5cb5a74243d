"""Folds are drawn by unit: nobody is judged by a model that saw it, and other rows do not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.errors import ConfigError, DataError
from luban.tasks.base import Head
from luban.train.encode import TrainData
from luban.train.folds import draw_folds, folds_of, strata, units

from .bench import dataset, task_of

made = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 4)), min_size=1, max_size=200)


def arrays(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    unit, stratum = np.array(rows).T
    return unit.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), stratum.astype(np.int64)


@given(made, st.integers(2, 12), st.integers(0, 9))
def test_a_unit_is_in_one_fold_and_no_fold_is_empty(rows: list[tuple[int, int]], num: int, seed: int) -> None:
    unit, stratum = arrays(rows)
    fold = draw_folds(unit, stratum, num, seed)
    for name in np.unique(unit):
        assert len(np.unique(fold[unit == name])) == 1
    found = int(fold.max()) + 1
    assert found == min(num, len(np.unique(unit)))
    assert set(fold.tolist()) == set(range(found))


@given(made, st.integers(2, 6), st.randoms(use_true_random=False))
def test_the_order_of_rows_of_one_class_does_not_matter(rows: list[tuple[int, int]], num: int, chance) -> None:
    order = list(range(len(rows)))
    chance.shuffle(order)
    unit, stratum = arrays(rows)
    stratum = (unit % np.uint64(3)).astype(np.int64)
    fold = draw_folds(unit, stratum, num, 0)
    assert np.array_equal(draw_folds(unit[order], stratum[order], num, 0), fold[order])


@given(st.integers(1, 30), st.integers(2, 10))
def test_a_rare_class_is_dealt_out_evenly(rare: int, num: int) -> None:
    unit = np.arange(1000 + rare, dtype=np.uint64)
    stratum = (unit >= 1000).astype(np.int64)
    fold = draw_folds(unit, stratum, num, 1)
    counts = np.bincount(fold[stratum == 1], minlength=num)
    assert counts.max() - counts.min() <= 1


@settings(max_examples=20)
@given(st.integers(0, 5))
def test_appended_rows_move_no_row_of_a_large_class(seed: int) -> None:
    names = np.random.default_rng(seed).integers(0, 2**63, 4000).astype(np.uint64)
    some = draw_folds(names[:2000], np.zeros(2000, np.int64), 5, seed)
    more = draw_folds(names, np.zeros(4000, np.int64), 5, seed)
    assert np.array_equal(more[:2000], some)
    assert np.bincount(more).min() > 4000 / 5 - 100


def test_folds_are_drawn_apart_from_the_split() -> None:
    """Rows with the largest hashes of the split are still in all folds."""
    from luban.data.splits import uniform

    names = np.arange(20_000, dtype=np.uint64)
    kept = names[uniform(names, 3) > 0.5]
    assert np.bincount(draw_folds(kept, np.zeros(len(kept), np.int64), 5, 3)).min() > len(kept) / 5 * 0.9


def test_strata_of_tags_are_the_rarest_and_of_levels_the_highest() -> None:
    tags = np.array([[1, 0], [1, 1], [1, 0], [0, 0]], np.float32)
    assert strata(tags, Head("binary", 2)).tolist() == [1, 2, 1, 0]
    levels = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], np.float32)
    assert strata(levels, Head("binary", 3)).tolist() == [0, 1, 2, 3]
    assert strata(np.array([0.5, 1.5]), Head("real", 1)).tolist() == [0, 0]


def test_subjects_and_copies_stay_together(tmp_path: Path) -> None:
    rows = [[f"p{i % 30}", f"text of {i % 50}", "ab"[i % 2]] for i in range(150)]
    columns = "who: {type: category, role: subject}, text: text, y: category"
    data = TrainData(made_ := dataset(tmp_path, "who,text,y", rows, columns), task_of(made_), 0)
    fold = folds_of(data, 4)
    who = np.array(data.values("who", "train"))
    assert all(len(np.unique(fold[who == name])) == 1 for name in np.unique(who))
    assert len(np.unique(units(data, data.rows["train"]))) <= len(np.unique(who))


def test_subjects_stay_together_where_the_split_was_at_random(tmp_path: Path) -> None:
    rows = [[f"p{i % 30}", i, "ab"[i % 2]] for i in range(150)]
    columns = "who: {type: category, role: subject}, x: number, y: category"
    found = dataset(tmp_path, "who,x,y", rows, columns, "by: random")
    data = TrainData(found, task_of(found), 0)
    fold = folds_of(data, 5)
    who = np.array(data.values("who", "train"))
    assert all(len(np.unique(fold[who == name])) == 1 for name in np.unique(who))


def test_one_unit_and_time_are_refused(tmp_path: Path) -> None:
    rows = [["p" if i else "q", i, "ab"[i % 2], f"2024-01-{i % 28 + 1:02d}"] for i in range(60)]
    columns = "who: {type: category, role: subject}, x: number, y: category, day: time"
    (tmp_path / "one").mkdir()
    found = dataset(tmp_path / "one", "who,x,y,day", rows, columns, "by: random, valid: 0.1, test: 0.1")
    data = TrainData(found, task_of(found), 0)
    if len(set(data.values("who", "train"))) > 1:
        data = data.with_rows({**data.rows, "train": data.rows["train"].only(np.arange(5, 20))})
    with pytest.raises(DataError, match="one unit"):
        folds_of(data, 5)
    (tmp_path / "timed").mkdir()
    found = dataset(
        tmp_path / "timed", "who,x,y,day", rows, columns.replace("subject", "meta"), "by: time, column: day"
    )
    with pytest.raises(ConfigError, match="by time"):
        folds_of(TrainData(found, task_of(found), 0), 5)
