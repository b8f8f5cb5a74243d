"""Numbers as people write them, and as vectors."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.errors import BadValue
from luban.features.base import EncoderState, Feature
from luban.features.kinds import VectorConfig
from luban.features.number import Number, NumberVector


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,200", 1200),
        ("1 200", 1200),
        ("1\u00a0200", 1200),
        ("1'200.5", 1200.5),
        ("1,234,567.89", 1234567.89),
        ("12%", 0.12),
        ("5 ‰", 0.005),
        ("１２％", 0.12),
        ("1.2万", 12000),
        ("1.1万", 11000),
        ("3亿", 3e8),
        ("2千万", 2e7),
        ("1.5k", 1500),
        ("2M", 2e6),
        ("¥1,200 元", 1200),
        ("￥1,200", 1200),
        ("1,200元", 1200),
        ("$-5", -5),
        ("-$5.50", -5.5),
        ("US$ 5", 5),
        ("EUR 7", 7),
        ("7 usd", 7),
        ("(1,200)", -1200),
        ("（1,200）", -1200),
        ("−5", -5),
        ("+3", 3),
        (".5", 0.5),
        ("5.", 5),
        ("1e-3", 0.001),
        ("  7 ", 7),
        (" ", None),
        (True, 1),
        (7, 7),
        (Decimal("1.5"), 1.5),
        (math.nan, None),
        (None, None),
    ],
)
def test_reads(written: object, value: float | None) -> None:
    parsed = Number().parse_value(written)
    assert parsed == value
    assert Number().parse_value(parsed) == parsed


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("NaN", "not a finite number"),
        ("-inf", "not a finite number"),
        (math.inf, "infinite"),
        (10**400, "larger"),
        ("1e999", "larger"),
        ("1,5", "decimal: ','"),
        ("1.200,50", "decimal: ','"),
        ("1,2000", "does not group"),
        ("--5", "two signs"),
        ("(-5)", "two signs"),
        ("5m", "not a number"),
        ("10²", "not a number"),
        ("五", "not a number"),
        ("1.2.3", "not a number"),
        ("%", "not a number"),
        ("1" * 1000, "too long"),
        ([1], "list"),
    ],
)
def test_refuses_with_a_reason(written: object, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        Number().parse_value(written)


def test_settings_of_a_column() -> None:
    comma = Number(Number.Config(decimal=",", unit="kg"))
    assert comma.parse_value("1.200,50 kg") == 1200.5
    assert comma.parse_value("1.200") == 1200
    with pytest.raises(BadValue, match=r"decimal: '\.'"):
        comma.parse_value("1200.5")


SHAPES = st.one_of(
    st.from_regex(r"[-+]?[0-9,. ]{0,8}([eE][-+]?[0-9]{1,3})?( ?[%万kM元])?", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.text(max_size=5),
    st.none(),
)


@given(st.lists(SHAPES, max_size=20))
def test_bulk_and_single_agree(raw: list[str | None]) -> None:
    bulk, single = (parse(Number(), pa.array(raw, pa.string())) for parse in (Number.parse, Feature.parse))
    assert bulk.values.equals(single.values)
    assert bulk.bad == single.bad


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=20))
def test_typed_bulk_and_single_agree(raw: list[float | None]) -> None:
    array = pa.array(raw, pa.float64(), from_pandas=False)
    bulk, single = (parse(Number(), array) for parse in (Number.parse, Feature.parse))
    assert bulk.values.equals(single.values)
    assert bulk.bad == single.bad


def test_changed_is_what_was_not_plain() -> None:
    assert Number().parse(pa.array(["1", "2.5", "1,200", "x", None, "7 %", "1,200"])).changed.tolist() == [2, 5, 6]
    assert not len(Number().parse(pa.array([1, 2, None])).changed)
    assert Number().parse(pa.array([1.5, math.nan, None, math.inf], from_pandas=False)).changed.tolist() == [1]


def encode(config: VectorConfig, train: list[float | None], values: list[float | None]) -> np.ndarray:
    encoder = NumberVector.fit(train, config, 0, None)
    again = NumberVector.restore(EncoderState(encoder.state().json, encoder.state().tensors))
    assert again.state_fingerprint == encoder.state_fingerprint
    value = encoder.encode(values).parts["value"]
    assert np.array_equal(value, again.encode(values).parts["value"], equal_nan=True)
    assert value.shape == (len(values), encoder.size)
    assert value.dtype == np.float32
    return value


def test_standard_and_missing() -> None:
    value = encode(VectorConfig(), [1.0, 3.0, None], [1.0, None, 3.0, 5.0])
    assert value.tolist() == [[-1, 0], [0, 1], [1, 0], [3, 0]]
    assert np.isnan(encode(VectorConfig(missing="nan"), [1.0, 3.0], [None])).all()


def test_quantiles_map_to_minus_one_to_one() -> None:
    train = [float(x) for x in range(1, 102)]
    value = encode(VectorConfig(scale="quantile", missing="nan"), train, [-5.0, 1.0, 51.0, 101.0, 1e9])
    assert value[:, 0].tolist() == pytest.approx([-1, -1, 0, 1, 1])
    tied = encode(VectorConfig(scale="quantile", missing="nan"), [0.0] * 98 + [1.0, 2.0, 3.0], [0.0, 3.0])
    assert tied[0, 0] < 0.5
    assert tied[1, 0] == 1


@pytest.mark.parametrize("scale", ["none", "standard", "quantile"])
@pytest.mark.parametrize("train", [[], [None, None], [5.0, 5.0], [0.1] * 3, [1e308, -1e308], [1e-320, 2e-320]])
def test_columns_without_spread_stay_finite(scale: str, train: list[float | None]) -> None:
    value = encode(VectorConfig(scale=scale), train, [None, 5.0, 1e308, -1e308, *train])
    assert np.isfinite(value).all()


def test_wide_numbers_keep_their_differences() -> None:
    train = [1.7e15 + i for i in range(100)]
    for scale in ("none", "standard"):
        value = encode(VectorConfig(scale=scale, missing="nan"), train, train)
        assert len(np.unique(value)) == 100


@given(st.lists(st.one_of(st.none(), st.floats(-1e300, 1e300)), min_size=1, max_size=30))
def test_same_bits_alone_and_in_a_batch(values: list[float | None]) -> None:
    for scale in ("none", "standard", "quantile"):
        encoder = NumberVector.fit(values, VectorConfig(scale=scale), 0, None)
        whole = encoder.encode(values).parts["value"]
        alone = np.concatenate([encoder.encode([value]).parts["value"] for value in values])
        assert whole.tobytes() == alone.tobytes()
