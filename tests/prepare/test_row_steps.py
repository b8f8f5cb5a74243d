"""Row steps: idempotent on any text, the same one by one and in bulk, and right on what people write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from luban.prepare.base import RowStep
from luban.prepare.missing import Missing
from luban.prepare.unicode import Unicode

STEPS: list[RowStep] = [
    Unicode(),
    Unicode(Unicode.Config(form="NFKC")),
    Unicode(Unicode.Config(wide="all")),
    Unicode(Unicode.Config(form="NFKC", wide="keep")),
    Missing(),
    Missing().suited(lambda text: False),
]
ODD = st.sampled_from("ÃÂâ€™éаяŒœ ©\u200d\u200c👨👩x\u0301ｱﾞ\r\n\t½Ａ，\u200bم\u3000\xa0\x00“”×²…·、")
WRITTEN = st.text(st.characters(codec="utf-8"))
MOJIBAKE = WRITTEN.map(lambda text: text.encode().decode("latin-1"))
TEXTS = st.one_of(
    WRITTEN, st.text(ODD), MOJIBAKE, st.sampled_from(["", " NA ", "-", "无", "nan", "None", "\tnull\u3000"])
)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.kind}-{step.config!r}"[:40])
@settings(max_examples=150, deadline=None)
@given(text=st.one_of(TEXTS, st.text(st.characters(exclude_categories=[]))))
@example(text="\ud83d\ude00 \ud83d")
def test_twice_is_once(step: RowStep, text: str) -> None:
    once = step.value(text)
    assert step.value(once) == once


@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step.kind}-{step.config!r}"[:40])
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.none() | TEXTS))
def test_bulk_is_one_by_one(step: RowStep, texts: list[str | None]) -> None:
    values, changed = step.apply(pa.array(texts, pa.string()))
    expected = [None if text is None else step.value(text) for text in texts]
    assert values.to_pylist() == expected
    assert changed.tolist() == [before != after for before, after in zip(texts, expected, strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("aZ09 .,~\n\t“”‘’—…·、。「」あンー好鿿㐀，！？；：ﾊ×²Ãé")))
def test_what_is_settled_does_not_change(text: str) -> None:
    for step in STEPS:
        settled = step.settled(pa.array([text]))
        assert settled is not None
        assert not settled[0].as_py() or step.value(text) == text


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("  ok\r\n", "ok"),
        ("a\rb\u2028c", "a\nb\nc"),
        ("schÃ¶n", "schön"),
        ("e\u0301", "é"),
        ("ＡＢＣ１２３，好！", "ABC123，好！"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\u200db", "ab"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("tab\tand\x00bell\x07", "tab\tandbell"),
        ("no\xa0break\u3000wide", "no break wide"),
        ("10²", "10²"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d", "�"),
    ],
)
def test_text_as_it_was_meant(written: str, meant: str) -> None:
    assert Unicode().value(written) == meant


def test_forms_are_chosen() -> None:
    assert Unicode(Unicode.Config(form="NFKC")).value("10²") == "102"
    assert Unicode(Unicode.Config(wide="all")).value("好！") == "好!"
    assert Unicode(Unicode.Config(wide="keep")).value("Ａ") == "Ａ"


@pytest.mark.parametrize("raw", [3, 2.5, True, None])
def test_what_is_not_text_stays(raw: Any) -> None:
    assert Unicode().value(raw) is raw
    assert Missing().value(raw) is raw


def test_words_for_nothing() -> None:
    step = Missing()
    assert [step.value(word) for word in ["", "  ", "N/A", "NULL", "-", "暂无", "#N/A"]] == [None] * 7
    assert [step.value(word) for word in ["无", "none", "-5", "NAB", "a - b"]] == ["无", "none", "-5", "NAB", "a - b"]
    assert step.value(math.nan) is None
    values, changed = step.apply(pa.array([1.0, math.nan, None]))
    assert values.to_pylist() == [1.0, None, None]
    assert np.flatnonzero(changed).tolist() == [1]


def test_doubtful_words_are_missing_where_they_cannot_be_read() -> None:
    numbers = Missing().suited(lambda text: text.isdigit())
    assert [numbers.value(word) for word in ["无", "None", "12"]] == [None, None, "12"]
    assert numbers.suited(lambda text: False).config == numbers.config


def test_own_words() -> None:
    assert Missing(Missing.Config(words=("Void",))).value("void") is None
    assert Missing(Missing.Config(words=("Void",))).value("NA") == "NA"


@pytest.mark.parametrize("column", [pa.array([1, 2, None]), pa.array([True, None]), pa.array([[1], None]), pa.nulls(2)])
def test_other_columns_pass(column: pa.Array) -> None:
    for step in STEPS:
        values, changed = step.apply(column)
        assert values.equals(column)
        assert not changed.any()
