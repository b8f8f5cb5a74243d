"""The phrase book: every English side is said somewhere, both have the same blanks, and what is not in it stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import luban
from luban.evaluate.phrasebook import CHINESE, translated
from luban.evaluate.report import data_facts

from .sentences import sentences

BLANK = re.compile(r"\{\w+\}")


LATIN = re.compile(r"[A-Za-z]{2,}")
NAMES = re.compile(
    r"`[^`]*`|scikit-learn|McNemar|Wilson|Efron|Guo|naive-Bayes|ONNX|max_candidates|time_budget_s|GiB|pip install.*"
)
NEVER_REPORTED = {
    "There is no target column.": "ends the run before there is a report",
    "No task suits the target `7`: 7.": "ends the run",
    "No model could be trained. 7.": "ends the run",
    "`train.models` names no model.": "ends the run",
    "step 7 of 7, loss 77": "progress, at the terminal while it trains",
}


def test_every_sentence_of_a_report_has_a_chinese_one() -> None:
    found = sentences()
    assert len(found) > 60, "the places where sentences stand are no longer found"
    left = {
        text: where
        for text, where in found.items()
        if text not in NEVER_REPORTED
        and not _is_chinese(data_facts({"notes": [text]})["notes"][0] if where.startswith("prepare") else text)
    }
    assert not left, "sentences that a Chinese report would show in English"
    assert set(NEVER_REPORTED) <= set(found), "an exemption that is no longer needed"


def _is_chinese(text: str) -> bool:
    """Whether nothing but names is left in Latin letters; what has no words of its own needs none."""
    return not LATIN.search(NAMES.sub("", translated(text, "zh")))


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
