"""Errors to read: the surest first, planted wrong labels are suspected, and people's numbers are masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.evaluate.masking import MAX_CHARACTERS, masked, shown
from luban.evaluate.scored import Scored
from luban.evaluate.worst import Errors, errors, suspected


def fetch(positions: np.ndarray) -> list[dict[str, Any]]:
    assert (np.diff(positions) > 0).all(), "ascending and distinct"
    return [{"text": f"row {at}", "_row_id": f"id{at}"} for at in positions.tolist()]


def softmax(truth: np.ndarray, probabilities: list[list[float]]) -> Scored:
    return Scored(truth, np.array(probabilities))


def test_the_surest_of_what_is_wrong_comes_first() -> None:
    rows = softmax(np.array([0, 0, 1, 1]), [[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
    found = errors(rows, ["good", "bad"], 2, fetch)
    assert [(one.row_id, one.confidence) for one in found.worst] == [("id1", 0.9), ("id3", 0.7)]
    assert found.num_wrong == 3
    first = found.worst[0]
    assert (first.truth, first.answer, first.truth_confidence) == ("good", "bad", 0.1)
    assert first.inputs == {"text": "row 1"}


def test_planted_wrong_labels_are_suspected() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    logits = rng.normal(size=(600, 3))
    logits[np.arange(600), truth] += 4
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    planted = rng.choice(600, 40, replace=False)
    labels = truth.copy()
    labels[planted] = (truth[planted] + 1) % 3
    found = suspected(Scored(labels, probability))
    assert len(set(found) & set(planted)) >= 30
    assert len(set(found) - set(planted)) <= 3
    assert len(set(found[:20]) & set(planted)) == 20, "the most suspect are all planted"
    assert not len(suspected(Scored(probability.argmax(axis=1), probability)))


def test_a_class_without_test_rows_suspects_nobody() -> None:
    rows = softmax(np.array([0, 0]), [[0.1, 0.9], [0.9, 0.1]])
    assert suspected(rows).tolist() == []
    assert errors(rows, ["a", "b"], 5, fetch).num_suspects == 0


def test_the_largest_errors_of_numbers() -> None:
    rows = Scored(np.array([1.0, 2.0, 3.0, 4.0]), values=np.array([1.0, 5.0, 2.0, 4.0]))
    found = errors(rows, [], 3, fetch)
    assert [(one.row_id, one.error, one.truth, one.answer) for one in found.worst] == [
        ("id1", 3.0, "2", "5"),
        ("id2", -1.0, "3", "2"),
    ]
    assert (found.num_wrong, found.num_suspects, found.suspects) == (None, None, ())
    assert found.worst[0].confidence is None


def test_tags_are_told_in_words() -> None:
    truth = np.array([[1, 0, 1], [0, 0, 0]])
    rows = Scored(truth, tags=np.array([[0.9, 0.8, 0.1], [0.1, 0.1, 0.2]]))
    found = errors(rows, ["a", "b", "c"], 5, fetch)
    assert [(one.truth, one.answer, one.truth_confidence) for one in found.worst] == [("a, c", "a, b", None)]
    assert found.num_suspects is None


def test_a_model_that_errs_nowhere_has_nothing_to_read() -> None:
    found = errors(softmax(np.array([0]), [[0.9, 0.1]]), ["a", "b"], 5, fetch)
    assert (found.worst, found.suspects, found.num_wrong) == ((), (), 0)
    assert Errors.model_validate(found.to_json()) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话13800138000谢谢", "电话[phone]谢谢"),
        ("+86 138-0013-8000", "[phone]"),
        ("Call (021) 5555 1234!", "Call [phone]!"),
        ("身份证 11010519491231002X", "身份证 [id]"),
        ("write to li.lei+x@example.com.cn.", "write to [e-mail]."),
        ("card 6222020200112233445", "card [number]"),
        ("order 471123, 12.50 元, 3,200.75, 2024-01-31 10:30", "order 471123, 12.50 元, 3,200.75, 2024-01-31 10:30"),
        ("１３８００１３８０００", "[phone]"),
    ],
)
def test_masking(text: str, expected: str) -> None:
    assert masked(text) == expected


@given(st.text())
def test_what_is_masked_stays_masked_and_short(text: str) -> None:
    found = shown(text)
    assert found is not None
    assert len(found) <= MAX_CHARACTERS


def test_masked_before_it_is_cut() -> None:
    found = shown("x" * (MAX_CHARACTERS - 8) + " 13800138000")
    assert found is not None
    assert "138" not in found
