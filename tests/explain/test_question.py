"""A row with parts taken away is asked as `predict` would ask it."""

from __future__ import annotations

import numpy as np
import pytest

from luban.bundle.bundle import Bundle
from luban.errors import ConfigError
from luban.explain.base import Case, Unexplained
from luban.explain.quantity import Quantity, _log_odds
from luban.explain.question import Question

ROW = {"text": "late parcel, late order", "number": 1.5, "category": "a"}


def question(bundle: Bundle, row: dict[str, object], asked: str | None = None) -> Question:
    (found,) = Case.of(bundle, [row], asked).questions("test")
    assert isinstance(found, Question)
    return found


def test_path_is_that_of_predict(linear: Bundle) -> None:
    asked = question(linear, ROW, "good")
    names = [(part.column, part.name) for part in asked.parts]
    kept = np.ones((4, len(names)), bool)
    kept[1, [i for i, (column, _) in enumerate(names) if column == "number"]] = False
    kept[2, names.index(("text", "parcel"))] = False
    kept[3, names.index(("text", "late"))] = False
    rows = [ROW, {**ROW, "number": None}, {**ROW, "text": "late , late order"}, {**ROW, "text": "parcel, late order"}]
    answers = linear.predict(rows).columns["probability_good"]
    expected = [np.log(p / (1 - p)) for p in answers]
    assert np.allclose(asked.ask(kept), expected, atol=1e-5)
    assert asked.output == pytest.approx(expected[0], abs=1e-5)


def test_distinct_rows_are_asked_once(linear: Bundle) -> None:
    asked = question(linear, {"text": "late late late"})
    before = asked.asked
    kept = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    found = asked.ask(kept)
    # the last piece stands without white space after it, so it is another text
    assert asked.asked - before == 2
    assert found[0] == found[1] == found[3]


def test_blocks_of_rows_make_no_difference(linear: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = question(linear, ROW)
    kept = np.random.default_rng(0).random((300, len(asked.parts))) < 0.5
    whole = asked.ask(kept)
    monkeypatch.setattr("luban.explain.question.BLOCK_ROWS", 64)
    assert np.allclose(asked.ask(kept), whole, atol=1e-6)


def test_bad_rows_and_unknown_classes(linear: Bundle) -> None:
    found = list(Case.of(linear, [{}, {"number": "many"}, ROW]).questions("test"))
    assert [isinstance(one, Unexplained) for one in found] == [True, True, False]
    assert isinstance(found[1], Unexplained)
    assert found[1].error.startswith("number: ")
    with pytest.raises(ConfigError, match="no class `great`"):
        Case.of(linear, [ROW], "great")


def test_log_odds_are_those_of_the_answer(linear: Bundle) -> None:
    quantity = Quantity.of(linear)
    rows = [ROW, {**ROW, "text": "quick fresh"}]
    values = linear.values(rows)
    figures = quantity.all(linear.run(linear.encode(values.columns)))
    answers = linear.predict(rows).columns
    for number, name in enumerate(quantity.names):
        p = np.array(answers[f"probability_{name}"])
        assert np.allclose(figures[:, number], np.log(p / (1 - p)), atol=1e-5)


def test_log_odds_do_not_saturate() -> None:
    found = _log_odds(np.array([[1000.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    assert found[0, 0] == pytest.approx(1000 - np.log(2))
    assert found[0, 1] == pytest.approx(-1000)
    assert found[1, 0] == pytest.approx(-np.log(2))
