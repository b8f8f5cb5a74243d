"""Lists of labels: as people write them, what is taken for them, and what they give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.catalog import FEATURES
from luban.data.infer import conclude
from luban.errors import BadValue
from luban.features.kinds import BagConfig, Want
from luban.features.tags import TagBag, Tags

PLAIN = BagConfig(min_rows=1, idf=False, norm="none")


@pytest.mark.parametrize(
    ("raw", "labels"),
    [
        ("a; b", ["a", "b"]),
        ("a;b ;;", ["a", "b"]),
        ("延误；破损", ["延误", "破损"]),
        ("延误、破损、延误", ["延误", "破损"]),
        ("a|b c|d", ["a", "b c", "d"]),
        ("a\nb", ["a", "b"]),
        ("a, b", ["a", "b"]),
        ("Smith, John; Doe, Jane", ["Smith, John", "Doe, Jane"]),
        ('["a", "b; c", null, 1.0]', ["a", "b; c", "1"]),
        ("[]", []),
        ([], []),
        (["x", "x", True, 2.0], ["x", "true", "2"]),
        (("a",), ["a"]),
        (" lonely ", ["lonely"]),
        (7, ["7"]),
        (";", []),
        ("", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_as_people_write_them(raw: Any, labels: list[str] | None) -> None:
    assert Tags().parse_value(raw) == labels


def test_one_separator_where_it_is_stated() -> None:
    comma = Tags(Tags.Config(separator=","))
    assert comma.parse_value("a; b，c") == ["a; b", "c"]
    assert Tags(Tags.Config(separator=" / ")).parse_value("a / b/c") == ["a", "b/c"]


def test_what_is_no_list_of_labels_is_said() -> None:
    for raw in ([["a"]], [{"a": 1}], '[["a"]]x'):
        if isinstance(raw, str):
            assert Tags().parse_value(raw) == [raw]
            continue
        with pytest.raises(BadValue, match="not labels alone"):
            Tags().parse_value(raw)


LABELS = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6), max_size=5)


@given(LABELS)
def test_a_parsed_list_parses_to_itself(raw: list[str]) -> None:
    parsed = Tags().parse_value(raw)
    assert Tags().parse_value(parsed) == parsed
    assert len(set(parsed)) == len(parsed)
    assert Tags().parts(parsed).without([]) == parsed


def test_columns_of_lists_and_of_text_agree() -> None:
    values = [["b", "a"], [], None, ["a", "a"]]
    lists = Tags().parse(pa.array(values, pa.list_(pa.string())))
    assert lists.values.to_pylist() == [["b", "a"], [], None, ["a"]]
    assert lists.changed.tolist() == [3]
    text = Tags().parse(pa.array(["b;a", "[]", None, "a;a"]))
    assert text.values.equals(lists.values)
    assert text.changed.tolist() == [3], "a list that is only read is not changed"
    nested = Tags().parse(pa.array([[["a"]], None], pa.list_(pa.list_(pa.string()))))
    assert list(nested.bad) == [0]


def kind_of(values: list[Any], role: Any = None, arrow: pa.DataType | None = None) -> str:
    table = pa.table({"x": pa.array(values, arrow)})
    return conclude(table, {}, {"x": role} if role else {})[0].column.type


TOPICS = ["late; cold", "late", "cold; rude", "late; rude; cold", "rude", "cold"] * 10


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (TOPICS, "tags"),
        ([value.replace("; ", "|") for value in TOPICS], "tags"),
        ([value.replace("; ", "、") for value in TOPICS], "tags"),
        ([value.replace("; ", ", ") for value in TOPICS], "tags"),
        ([["a", "b"], ["a"], []] * 20, "tags"),
        (['["a","b"]', '["a"]', "[]"] * 20, "tags"),
        (["Boston, MA", "Lowell, MA", "Austin, TX"] * 20, "category"),
        ([f"Smith{i}, John{i}" for i in range(60)], "text"),
        (["good", "bad"] * 30, "category"),
        ([f"The room was cold, the staff was rude; we left after {i} days" for i in range(60)], "text"),
        (["1,200", "3,400", "5,600", "7"] * 15, "number"),
        (["好吃，便宜，不会再来" + str(i) for i in range(60)], "text"),
    ],
)
def test_only_lists_are_taken_for_tags(values: list[Any], kind: str) -> None:
    assert kind_of(values) == kind
    if kind == "tags":
        assert kind_of(values, "target") == kind, "few distinct lists are no classes"


def test_the_separator_that_was_found_is_kept() -> None:
    found = Tags().infer(["a, b; c", "c", "a, b", "c; a, b"] * 9)
    assert found is not None
    assert found.settings == {"separator": ";"}
    assert FEATURES.make("tags", found.settings).parse_value("a, b; c") == ["a, b", "c"]


def test_one_entry_a_label() -> None:
    values = [["b", "a"], ["a"], [], None]
    bag = TagBag.fit(values, PLAIN, 0, None)
    parts = bag.encode([*values, ["a", "new"]]).parts
    assert parts["ids"].tolist() == [2, 3, 2, 2]
    assert parts["offsets"].tolist() == [0, 2, 3, 3, 3, 4]
    assert parts["present"].tolist() == [True, True, True, False, True]
    assert parts["weights"].tolist() == [1, 1, 1, 1]


def test_what_n_grams_are_asked_for_makes_no_difference() -> None:
    values = [["b", "a"], ["a"]] * 4
    found = {
        Tags().fit(values, Want("bag", BagConfig(analyzer=analyzer, ngram_max=size)), 0).state_fingerprint
        for analyzer in ("char", "word")
        for size in (1, 4)
    }
    assert len(found) == 1


def test_rare_labels_and_subjects() -> None:
    values = [["a", "b"], ["a"], ["b"], ["c"]]
    assert TagBag.fit(values, BagConfig(min_rows=2), 0, None).vocabulary == ["a", "b"]
    assert TagBag.fit(values, BagConfig(min_rows=2), 0, ["x", "x", "y", "z"]).vocabulary == ["b"]
    assert TagBag.fit(values, BagConfig(min_rows=1, max_terms=1), 0, None).vocabulary == ["a"]
    weights = TagBag.fit(values, BagConfig(min_rows=1), 0, None).encode([["a", "b"]]).parts["weights"]
    assert np.linalg.norm(weights) == pytest.approx(1)


def test_signals() -> None:
    signals = Tags().signals([["a", "b"], ["b", "a"], [], None])
    assert signals["count"].tolist()[:3] == [2, 2, 0]
    assert signals["bucket"][0] == signals["bucket"][1] != signals["bucket"][2]
