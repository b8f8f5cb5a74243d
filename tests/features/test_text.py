"""Text: values, parts, signals; and how the column types tell each other apart."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.catalog import FEATURES
from luban.errors import BadValue
from luban.features.text import MAX_PARTS, Text


@pytest.mark.parametrize(
    ("raw", "value"),
    [(" 好 ", " 好 "), ("", None), (" \n", None), (None, None), (3, "3"), (2.5, "2.5"), (float("nan"), None)],
)
def test_values(raw: object, value: str | None) -> None:
    assert Text().parse_value(raw) == value
    assert Text().parse_value(value) == value


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(BadValue, match="character 1"):
        Text().parse_value("a\ud83d")


def test_what_is_not_one_text_is_refused() -> None:
    with pytest.raises(BadValue, match="list"):
        Text().parse_value(["a"])


def test_parts_of_both_scripts() -> None:
    parts = Text().parts("房间好, very clean!!")
    assert parts.names == ("房", "间", "好", ",", "very", "clean", "!!")
    assert parts.without([4]) == "房间好, clean!!"
    assert parts.without(range(7)) is None
    assert Text().parts("हिन्दी में").names == ("हिन्दी", "में")
    assert Text().parts(None).names == ()


@given(st.text(max_size=80).filter(lambda text: bool(text.strip())))
def test_parts_give_the_text_back(text: str) -> None:
    parts = Text().parts(text)
    assert parts.without([]) == text
    assert parts.without(range(len(parts.names))) is None
    assert parts.names


def test_long_texts_have_few_parts() -> None:
    text = "好" * 1_000_003
    parts = Text().parts(text)
    assert len(parts.names) <= MAX_PARTS
    assert parts.without([]) == text


def test_signals() -> None:
    found = Text().signals(["房间 ab 12!", None, "好"])
    assert found["length"].tolist()[::2] == [9, 1]
    assert found["cjk"].tolist()[::2] == pytest.approx([2 / 7, 1])
    assert found["digits"].tolist()[::2] == pytest.approx([2 / 7, 0])
    assert found["non_letters"].tolist()[::2] == pytest.approx([3 / 7, 0])
    assert all(np.isnan(figure[1]) for figure in found.values())
    assert all(len(figure) == 0 for figure in Text().signals([]).values())


@pytest.mark.parametrize(
    ("expected", "sample"),
    [
        ("number", ["1,200 元", "3,000 元", "15 元"] * 5),
        ("number", ["12%", "5.5%", "7%"] * 3),
        ("number", ["1", "2", "3"] * 10),
        ("number", ["1.5", "2.5"] * 10),
        ("number", [str(age) for age in range(20, 70)]),
        ("category", ["0", "1"] * 10),
        ("category", ["True", "False"] * 9),
        ("category", ["上海", "北京", "广州"] * 5),
        ("category", []),
        ("time", ["2024-01-05", "2024-01-06", "2024年1月5日"] * 3),
        ("time", ["20240105", "20240106", "20231231"] * 4),
        ("text", ["张三", "李四", "王五", "John Smith"]),
        ("text", ["01012345678", "02187654321", "075512345678"]),
        ("text", ["房间很干净，服务态度好，下次还会再来", "太差了，再也不来了", "一般般"]),
        ("text", ["The room was clean and the staff were friendly, we will come again."] * 3),
    ],
)
def test_the_surest_type_wins(expected: str, sample: list[str]) -> None:
    guesses = {name: FEATURES.make(name).infer(sample) for name in ("text", "category", "number", "time")}
    scores = {name: guess.score for name, guess in guesses.items() if guess is not None}
    assert max(scores, key=scores.__getitem__) == expected
    assert sorted(scores.values())[-2:].count(max(scores.values())) == 1


@pytest.mark.parametrize("name", ["text", "category", "number", "time"])
@pytest.mark.parametrize("raw", [pa.nulls(3), pa.array([None, None], pa.string()), pa.array([], pa.string())])
def test_nothing_parses_to_nothing(name: str, raw: pa.Array) -> None:
    feature = FEATURES.make(name)
    parsed = feature.parse(raw)
    assert parsed.values.type == feature.storage
    assert parsed.values.null_count == len(raw)
    assert not parsed.bad
    assert not len(parsed.changed)
