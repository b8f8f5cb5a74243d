"""Figures of a column, whatever the batches."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from luban.data.profile import SAMPLE_ROWS, ColumnProfile


def profile(column: pa.Array, size: int) -> ColumnProfile:
    keys = np.random.default_rng(0).integers(0, 2**63, len(column)).astype(np.uint64)
    found = ColumnProfile()
    for start in range(0, len(column), size):
        found.update(column[start : start + size], keys[start : start + size])
    return found


def test_numbers_are_exact_and_quantiles_near() -> None:
    values = np.random.default_rng(1).normal(5, 2, 50_000)
    found = profile(pa.array(values), 3_000).as_json()
    assert found["mean"] == pytest.approx(values.mean())
    assert found["deviation"] == pytest.approx(values.std())
    assert (found["min"], found["max"], found["distinct"]) == (values.min(), values.max(), None)
    assert found["quantiles"]["0.5"] == pytest.approx(np.median(values), abs=0.1)
    assert profile(pa.array(values), 50_000).as_json()["quantiles"] == found["quantiles"]
    assert SAMPLE_ROWS < 50_000


def test_text_has_lengths_and_top_values() -> None:
    found = profile(pa.array(["aa", "b", None, "aa"]), 2).as_json()
    assert found["top"] == [["aa", 2], ["b", 1]]
    assert (found["missing"], found["distinct"], found["length_max"], found["length_mean"]) == (1, 2, 2, 5 / 3)


def test_times_have_a_range() -> None:
    found = profile(pa.array([datetime(2024, 1, 2), None, datetime(2023, 5, 6)]), 1).as_json()
    assert (found["min"], found["max"]) == ("2023-05-06T00:00:00", "2024-01-02T00:00:00")


def test_nothing_at_all() -> None:
    assert profile(pa.nulls(3, pa.string()), 2).as_json() == {"rows": 3, "missing": 3, "distinct": 0}
