"""Rows that are served take short cuts: the answers are the very same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.bundle.manifest import RowStepSpec
from luban.bundle.preprocess import FEW_ROWS, NO_INPUT, Preprocess
from luban.catalog import FEATURES, STEPS
from luban.data.schema import Schema
from luban.features.kinds import VectorConfig
from luban.features.number import NumberVector

NAMES = ("a", "b", "c")
SCHEMA = Schema.model_validate({"columns": [{"name": name, "type": "number"} for name in NAMES]})
STEPS_OF_ALL = [RowStepSpec(kind=kind, config={}, columns=NAMES) for kind in ("unicode", "missing")]
values = st.one_of(st.none(), st.floats(), st.integers(-(10**20), 10**20), st.sampled_from(["1,200", "n/a", "x", ""]))
rows_of = st.lists(st.dictionaries(st.sampled_from(NAMES), values), max_size=9)


@settings(max_examples=150, deadline=None)
@given(rows_of)
def test_rows_are_read_alike_alone_and_together(rows: list[dict[str, Any]]) -> None:
    preprocess = Preprocess(SCHEMA, STEPS_OF_ALL)
    together = preprocess.rows(rows)
    for position, row in enumerate(rows):
        alone = preprocess.rows([row])
        assert alone.errors == together.errors[position : position + 1]
        if alone.errors[0] is None:
            assert [alone.columns[n][0] for n in NAMES] == [together.columns[n][position] for n in NAMES]


def test_whole_columns_of_floats_take_the_short_cut() -> None:
    rows = [{"a": 1.5, "b": float(n), "c": None if n == 1 else 2.0} for n in range(FEW_ROWS)]
    found = Preprocess(SCHEMA, STEPS_OF_ALL).rows([*rows, {"a": 1.0, "b": 2.0, "c": "bad"}])
    assert found.columns["a"] == [1.5] * FEW_ROWS + [1.0]
    assert found.columns["c"][:2] == [2.0, None]
    assert found.errors[:-1] == [None] * FEW_ROWS
    assert str(found.errors[-1]).startswith("c: ")


def test_rows_without_input_are_told_in_a_batch_too() -> None:
    found = Preprocess(SCHEMA, STEPS_OF_ALL).rows([{}] * FEW_ROWS)
    assert found.errors == [NO_INPUT] * FEW_ROWS


numbers = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.just(1.7e308), st.just(-1.7e308))
columns_of = st.integers(1, 5).flatmap(
    lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=2, max_size=4)
)


@pytest.mark.parametrize("missing", ["mean", "nan"])
@settings(max_examples=100, deadline=None)
@given(columns=columns_of, scales=st.lists(st.sampled_from(["none", "standard"]), min_size=4, max_size=4))
def test_columns_side_by_side_have_the_bits_that_each_has_alone(
    missing: str, columns: list[list[float | None]], scales: list[str]
) -> None:
    rng = np.random.default_rng(0)
    encoders = [
        NumberVector.fit(
            list(rng.normal(n, n + 1, 20)),
            VectorConfig.model_validate({"scale": scale, "missing": missing}), 0, None,
        )
        for n, scale in zip(range(len(columns)), scales, strict=False)
    ]  # fmt: skip
    together = NumberVector.side_by_side(encoders)
    assert together is not None
    found = together(columns)
    for number, (encoder, column) in enumerate(zip(encoders, columns, strict=True)):
        alone = encoder.encode(column)
        assert found.keys() == alone.parts.keys()
        for part, expected in alone.parts.items():
            assert found[part][number].dtype == expected.dtype
            assert found[part][number].shape == expected.shape
            assert found[part][number].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("first", "second"),
    [({"scale": "quantile"}, {}), ({"missing": "nan"}, {}), ({}, {"scale": "constant"})],
)
def test_what_is_no_line_stays_alone(first: dict[str, str], second: dict[str, str]) -> None:
    def fitted(settings: dict[str, str]) -> NumberVector:
        constant = settings.get("scale") == "constant"
        config = VectorConfig.model_validate({} if constant else settings)
        return NumberVector.fit([1.0, 1.0] if constant else [1.0, 2.0, 4.0], config, 0, None)

    assert NumberVector.side_by_side([fitted(first), fitted(second)]) is None


@pytest.mark.parametrize("kind", STEPS.names())
def test_steps_that_keep_floats_do(kind: str) -> None:
    step = STEPS.make(kind)
    if getattr(step, "keeps_floats", False):
        for value in (0.0, -0.0, 1e308, 5e-324, -2.5):
            assert step.value(value) is value


def test_types_that_read_floats_as_they_are() -> None:
    feature = FEATURES.make("number")
    assert feature.reads_floats
    for value in (0.0, -1.5, 1e308, 5e-324):
        assert feature.parse_value(value) == value
        assert feature.parse(pa.array([value])).values.to_pylist() == [value]
