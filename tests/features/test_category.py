"""Categories: one way of writing a value, and indices."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.errors import BadValue
from luban.features.category import Category, CategoryIndex
from luban.features.kinds import IndexConfig


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (" 上海 ", "上海"),
        ("", None),
        ("  ", None),
        (None, None),
        (float("nan"), None),
        (True, "true"),
        ("False", "false"),
        (1, "1"),
        (1.0, "1"),
        ("1.0", "1"),
        ("-3.00", "-3"),
        (2.5, "2.5"),
        (np.float64(2.0), "2"),
        (Decimal("7.0"), "7"),
        ("007", "007"),
        ("v1.0", "v1.0"),
        (date(2024, 1, 5), "2024-01-05"),
    ],
)
def test_one_way_of_writing(raw: object, value: str | None) -> None:
    parsed = Category().parse_value(raw)
    assert parsed == value
    assert Category().parse_value(parsed) == parsed


def test_refuses_what_is_not_one_value() -> None:
    with pytest.raises(BadValue, match="dict"):
        Category().parse_value({"a": 1})


@given(st.lists(st.one_of(st.none(), st.text(max_size=2)), max_size=40), st.integers(1, 3), st.integers(1, 5))
def test_index_knows_the_frequent(raw: list[str | None], min_rows: int, max_values: int) -> None:
    values = [Category().parse_value(value) for value in raw]
    encoder = CategoryIndex.fit(values, IndexConfig(min_rows=min_rows, max_values=max_values), 0, None)
    assert encoder.values == sorted(encoder.values)
    assert len(encoder.values) <= max_values
    left_out = {v for v in values if v is not None} - set(encoder.values)
    if len(encoder.values) < max_values:
        assert all(values.count(v) < min_rows for v in left_out)
    assert all(values.count(v) >= min_rows for v in encoder.values)
    again = CategoryIndex.restore(encoder.state())
    assert again.state_fingerprint == encoder.state_fingerprint
    found = again.encode([*values, "unheard of", None]).parts
    assert found["value"].dtype == np.int64
    assert found["value"][-2:].tolist() == [1, 0]
    for value, number in zip(values, found["value"].tolist(), strict=False):
        assert number == (0 if value is None else 1) or encoder.values[number - 2] == value


def test_min_rows_counts_subjects() -> None:
    values, people = ["a", "a", "b", "b"], ["x", "x", "x", "y"]
    assert CategoryIndex.fit(values, IndexConfig(min_rows=2), 0, people).values == ["b"]


def test_parts_and_signals() -> None:
    parts = Category().parts("上海")
    assert parts.names == ("上海",)
    assert parts.without([0]) is None
    assert parts.without([]) == "上海"
    bucket = Category().signals(["a", None, "a", "b"])["bucket"]
    assert bucket[0] == bucket[2] != bucket[3]
    assert np.isnan(bucket[1])
