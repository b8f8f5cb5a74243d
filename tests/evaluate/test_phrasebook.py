"""The phrase book: every English side is said somewhere, both have the same blanks, and what is not in it stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import luban
from luban.evaluate.phrasebook import CHINESE, translated

BLANK = re.compile(r"\{\w+\}")


def test_every_phrase_is_said_somewhere() -> None:
    """Sources without quotes, joins of strings and blanks, so that a sentence over two lines is found."""
    root = Path(luban.__file__).parent
    said = ""
    for path in root.rglob("*.py"):
        if path.name != "phrasebook.py":
            said += re.sub(r'"\s*\n\s*f?"', "", path.read_text("utf-8")) + "\n"
    for english, _ in CHINESE:
        for piece in BLANK.split(english):
            assert piece.strip(" .`") in said, piece


@pytest.mark.parametrize(("english", "chinese"), CHINESE)
def test_both_sides_have_the_same_blanks(english: str, chinese: str) -> None:
    assert set(BLANK.findall(english)) == set(BLANK.findall(chinese))
    filled = BLANK.sub("7", english)
    assert translated(filled, "en") == filled
    assert translated(filled, "zh") == BLANK.sub("7", chinese)


def test_blanks_are_looked_up_in_turn_and_what_is_unknown_stays() -> None:
    said = "Column `x` is not learnt from: it holds objects: write each of their fields as a column of its own."
    assert translated(said, "zh") == "列 `x` 没有用于学习：其中是对象，请把每个字段写成单独的列。"
    assert translated("61 rounds of trees; 7 of 9 moons", "zh") == "61 轮树；7 of 9 moons"
    assert translated("an unknown reason", "zh") == "an unknown reason"
    assert translated("", "zh") == ""
