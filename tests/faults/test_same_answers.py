"""One bundle, one answer: as dictionaries, Arrow, a file, over HTTP, alone, among others, and however it is written."""

from __future__ import annotations

import json
import math
import random
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.bundle.bundle import Bundle

from .conftest import Undisturbed
from .project import rows, write_csv

TOLERANCE = 1e-6
INPUTS = ("text", "price", "city")
ODD: list[list[str]] = [
    ["", "", ""],
    ["only a text", "", ""],
    ["", "12", ""],
    ["a price that is none", "dear", "Rome"],
    ["a price without end", "inf", "Rome"],
    ["a city that nobody saw", "1,200 元", "Atlantis"],
    ["房间很干净 😀", "１２", "Oslo"],
    ["N/A", "-", "null"],
]


@pytest.fixture(scope="module")
def bundle(undisturbed: Undisturbed) -> Bundle:
    return Bundle.load(undisturbed.bundle)


@pytest.fixture(scope="module")
def body() -> list[list[str]]:
    """Plain rows with odd ones among them."""
    plain = [row[:3] for row in rows(60, seed=3)]
    for number, odd in enumerate(ODD):
        plain.insert(5 * number + 2, odd)
    return plain


def as_dicts(body: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """An empty field is a missing value, as it is in a CSV file."""
    return [dict(zip(INPUTS, (value or None for value in row), strict=True)) for row in body]


def same(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> None:
    """Equal answers, error for error."""
    assert len(first) == len(second)
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        for name in ("label", "confidence", "probability_bad", "probability_good", "error"):
            a, b = one.get(name), other.get(name)
            close = isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, abs_tol=TOLERANCE)
            assert a == b or close, f"row {number}, {name}: {a!r} and {b!r}"


def test_one_answer_everywhere(bundle: Bundle, body: list[list[str]], undisturbed: Undisturbed) -> None:
    given_rows = as_dicts(body)
    wanted = bundle.predict(given_rows).rows()
    assert {row.get("label") for row in wanted} == {"good", "bad", None}
    errors = [number for number, row in enumerate(wanted) if row.get("error")]
    assert [body[number] for number in errors] == [ODD[0], ODD[3], ODD[4], ODD[7]]
    arrow = pa.table({name: pa.array([row[name] for row in given_rows], pa.string()) for name in INPUTS})
    same(bundle.predict(arrow).rows(), wanted)
    same(bundle.predict(arrow.combine_chunks().to_batches()[0]).rows(), wanted)
    tiny = undisturbed.tiny
    write_csv(tiny.folder / "in.csv", body, INPUTS)
    tiny.done("predict", "in.csv", "out.jsonl")
    same([json.loads(line) for line in (tiny.folder / "out.jsonl").read_text("utf-8").splitlines()], wanted)
    with tiny.serving() as address:
        answer = httpx.post(f"{address}/v1/predict", json={"rows": given_rows}, timeout=30)
    assert answer.status_code == 200, answer.text
    same(answer.json()["answers"], wanted)


def test_infinity_and_nan_over_http(undisturbed: Undisturbed) -> None:
    bodies = {
        '{"rows": [{"text": "fine", "price": NaN}]}': 400,
        '{"rows": [{"text": "fine", "price": Infinity}]}': 400,
        '{"rows": [{"text": "fine", "price": 1e999}]}': None,
        '{"rows": [{"text": "fine", "price": "NaN"}]}': 200,
    }
    with undisturbed.tiny.serving() as address:
        for content, status in bodies.items():
            headers = {"Content-Type": "application/json"}
            answer = httpx.post(f"{address}/v1/predict", content=content, headers=headers, timeout=30)
            if status is None:  # a number that JSON allows and no float can hold: refused, or an error in its row
                assert answer.status_code == 400 or answer.json()["answers"][0]["error"], answer.text
                continue
            assert answer.status_code == status, answer.text
            assert status == 200 or "JSON" in answer.text
        assert httpx.get(f"{address}/ready", timeout=30).status_code == 200


def test_alone_and_among_others(bundle: Bundle, body: list[list[str]]) -> None:
    given_rows = as_dicts(body)
    wanted = [bundle.predict([row]).rows()[0] for row in given_rows]
    same(bundle.predict(given_rows).rows(), wanted)
    order = list(range(len(body)))
    random.Random(0).shuffle(order)
    long = {"text": "dirty " * 20_000, "price": "1e300", "city": "Rome"}
    mixed = bundle.predict([long, *(given_rows[number] for number in order), long]).rows()[1:-1]
    same(mixed, [wanted[number] for number in order])


NOISE = st.sampled_from(["\u200b", "\ufeff", "\u00ad", "\u2060", "\x00", "\x7f", "\u202a", "\u200e"])
AROUND = st.sampled_from(["", " ", "\u3000", "\t", "\r\n", "\u00a0", "\u200b "])
SAID = ["great", "dirty", "café", "naïve", "房间", "干净", "good2", "Ａpple", "２０", "über", "😀"]
WORDS = st.lists(st.sampled_from(SAID), min_size=1)


def wide(text: str) -> str:
    """Full-width letters and digits."""
    return "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in text)


@settings(max_examples=60, deadline=None)
@given(WORDS, st.data())
def test_text_that_is_not_normalised(bundle: Bundle, words: list[str], data: st.DataObject) -> None:
    text = unicodedata.normalize("NFC", " ".join(words))
    written = data.draw(
        st.sampled_from([text, unicodedata.normalize("NFD", text), wide(text), text.replace(" ", "\u3000")])
    )
    place = data.draw(st.integers(0, len(written)))
    if not unicodedata.combining((written + " ")[place]):  # noise between a letter and its accent is another text
        written = written[:place] + data.draw(NOISE) + written[place:]
    written = data.draw(AROUND) + written + data.draw(AROUND)
    rest = {"price": "12", "city": "Rome"}
    prepared = bundle.preprocess.rows([{"text": written, **rest}]).columns["text"][0]
    answers = bundle.predict([{"text": one, **rest} for one in (written, prepared)]).rows()
    same(answers[:1], answers[1:])
    assert prepared == unicodedata.normalize("NFC", prepared)
    assert bundle.preprocess.rows([{"text": prepared}]).columns["text"][0] == prepared, (
        "preparing twice changes nothing"
    )
    plain = bundle.predict([{"text": unicodedata.normalize("NFC", text).translate(_PLAIN), **rest}]).rows()
    same(answers[:1], plain)


_PLAIN = {code + 0xFEE0: chr(code) for code in range(0x21, 0x7F) if chr(code).isalnum()}


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_the_answer_of_its_prepared_form(bundle: Bundle, text: str) -> None:
    prepared = bundle.preprocess.rows([{"text": text, "price": "1"}])
    once = prepared.columns["text"][0]
    answers = bundle.predict([{"text": text, "price": "1"}, {"text": once, "price": "1"}]).rows()
    same(answers[:1], answers[1:])
    arrow = pa.table({"text": [text], "price": ["1"]})
    same(bundle.predict(arrow).rows(), answers[:1])


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,200 元", 1200), ("¥1,200", 1200), ("１２００", 1200), ("1.2千", 1200), ("0.12万", 1200), (" 1200 ", 1200),
        ("1'200", 1200), ("1200.0", 1200), ("1.2k", 1200), ("(5)", -5), ("−5", -5), ("12%", 0.12), ("\u200b12", 12),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(written: str, number: float, bundle: Bundle) -> None:
    said = [{"text": "fine", "price": one, "city": "Rome"} for one in (written, number, str(number))]
    answers = bundle.predict(said).rows()
    assert answers[0].get("error") is None
    same(answers[:1], answers[1:2])
    same(answers[:1], answers[2:])
    same(bundle.predict(pa.table({"text": ["fine"], "price": [written], "city": ["Rome"]})).rows(), answers[:1])
