"""Slices: what is planted is found, chance is not, and few rows break nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from luban.data.schema import Column, Schema
from luban.errors import DataError
from luban.evaluate.cutting import Cut, columns_of, cuts
from luban.evaluate.findings import Slices
from luban.evaluate.scored import Scored
from luban.evaluate.slices import MAX_SLICES, slices

pytest.importorskip("scipy")


def classes(right: np.ndarray) -> Scored:
    truth = np.zeros(len(right), np.int64)
    second = np.where(right, 0.1, 0.9)
    return Scored(truth, np.stack([1 - second, second], axis=1))


def judge(rows: Scored, *cuts: Cut, least: int = 30) -> Slices:
    found = slices(rows, cuts, least, 0.95)
    assert found is not None
    return found


def test_the_slice_that_fares_worse_comes_first_and_chance_stays_chance() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(5000) < 0.9
    right[:200] = rng.random(200) < 0.6
    planted = Cut("city", "value", "planted", np.arange(200))
    others = [Cut("x", "value", str(i), np.sort(rng.choice(np.arange(200, 5000), 300, False))) for i in range(60)]
    found = judge(classes(right), *others, planted)
    first = found.slices[0]
    assert (first.label, first.significant, found.num_looked_at) == ("planted", True, 61)
    assert first.difference == pytest.approx(-0.3, abs=0.08)
    assert first.p_value is not None
    assert first.q_value is not None
    assert first.p_value <= first.q_value < 0.001
    assert found.num_worse == 1, "of sixty slices of chance none is called worse"
    assert [one.difference for one in found.slices] == sorted(one.difference for one in found.slices)  # type: ignore[type-var]


def test_values_are_turned_so_that_above_zero_is_better() -> None:
    truth = np.zeros(400)
    values = np.concatenate([np.full(100, 3.0), np.full(300, 1.0)]) * np.tile([1, -1], 200)
    found = judge(Scored(truth, values=values + np.linspace(0, 0.1, 400)), Cut("a", "value", "far", np.arange(100)))
    one = found.slices[0]
    assert (found.figure, found.higher_is_better) == ("mae", False)
    assert one.difference == pytest.approx(-2, abs=0.1)
    assert one.significant
    assert one.difference_high is not None
    assert one.difference_high < 0


@pytest.mark.parametrize("numbers", [True, False])
def test_a_slice_of_one_row_and_one_of_all_rows(numbers: bool) -> None:
    rows = Scored(np.zeros(5), values=np.arange(5.0)) if numbers else classes(np.array([True, False, True, True, True]))
    found = judge(rows, Cut("a", "value", "one", np.array([1])), Cut("a", "value", "all", np.arange(5)), least=1)
    assert [one.num_rows for one in found.slices] == [1]
    assert found.num_looked_at == 1
    Slices.model_validate_json(json.dumps(found.to_json(), allow_nan=False))


def test_one_test_row_has_no_slice_and_says_so() -> None:
    found = judge(classes(np.array([True])), Cut("a", "value", "x", np.array([0])), least=1)
    assert found.slices == ()
    assert found.reason


def test_small_slices_are_counted_and_the_same_rows_are_looked_at_once() -> None:
    right = np.arange(100) % 3 > 0
    same = [Cut(name, "value", "x", np.arange(50)) for name in "ab"]
    found = judge(classes(right), *same, Cut("c", "value", "y", np.arange(29)))
    assert (found.num_looked_at, found.num_small) == (1, 1)


def test_a_thousand_slices_are_judged_and_a_hundred_listed() -> None:
    rng = np.random.default_rng(0)
    many = [Cut("x", "value", str(i), np.sort(rng.choice(2000, 40, False))) for i in range(1000)]
    found = judge(classes(rng.random(2000) < 0.8), *many)
    assert (found.num_looked_at, len(found.slices)) == (1000, MAX_SLICES)


def cut(kind: str, values: pa.Array) -> dict[tuple[str, str], list[int]]:
    """Rows by (by, label) of one column's slices, read in two batches."""
    middle = len(values) // 2

    def read(name: str) -> Iterator[pa.Array]:
        yield values[:middle]
        yield values[middle:]

    return {(one.by, one.label): one.rows.tolist() for one in cuts([Column(name="a", type=kind)], read)}


def test_values_of_a_category_and_what_is_missing() -> None:
    found = cut("category", pa.array(["x", "y", None, "x", "x", None]))
    assert found == {
        ("missing", "missing"): [2, 5],
        ("missing", "present"): [0, 1, 3, 4],
        ("value", "x"): [0, 3, 4],
        ("value", "y"): [1],
    }


def test_numbers_are_cut_into_quarters_and_few_numbers_one_by_one() -> None:
    found = cut("number", pa.array(np.arange(100.0)))
    assert [len(rows) for rows in found.values()] == [25, 25, 25, 25]
    assert [label for _, label in found] == ["≤ 24.75", "24.75 – 49.5", "49.5 – 74.25", "> 74.25"]
    few = cut("number", pa.array([1.0, 2.0, 1.0, None]))
    assert few["value", "1"] == [0, 2]
    assert cut("number", pa.array([None, None], pa.float64())) == {}


def test_columns_of_peoples_numbers_are_cut_by_only_where_they_are_named() -> None:
    values = {
        "phone": pa.array([13_800_000_000.0 + 37 * number for number in range(50)]),
        "mail": pa.array([f"li.lei{number}@example.com" for number in range(50)]),
        "amount": pa.array(np.arange(50.0)),
        "chat": pa.array(["Call 13812345678, please"] * 50),
        "empty": pa.array([None] * 50, pa.string()),
    }
    types = {"phone": "number", "mail": "category", "amount": "number", "chat": "text", "empty": "text"}
    schema = Schema(columns=tuple(Column(name=name, type=kind, role="meta") for name, kind in types.items()))

    def read(name: str) -> Iterator[pa.Array]:
        yield values[name]

    assert [column.name for column in columns_of(schema, None, read)] == ["amount", "chat", "empty"]
    assert [column.name for column in columns_of(schema, ["phone"], read)] == ["phone"]


def test_texts_are_cut_by_their_signals() -> None:
    texts = ["a" * (1 + i % 40) for i in range(80)] + ["好" * (1 + i % 40) for i in range(80)]
    found = cut("text", pa.array(texts))
    assert {by for by, _ in found} == {"length", "cjk", "digits", "non_letters"}
    assert found["cjk", "1"] == list(range(80, 160))
    assert sum(len(rows) for (by, _), rows in found.items() if by == "length") == 160


def test_lists_are_cut_by_what_they_hold() -> None:
    found = cut("tags", pa.array([["a", "b"], [], None, ["b"], ["b", "b"]], pa.list_(pa.string())))
    assert found["value", "a"] == [0]
    assert found["value", "b"] == [0, 3, 4]
    assert found["missing", "missing"] == [2]


def test_times_are_cut_into_periods_weekdays_and_hours() -> None:
    days = np.arange("2024-01-01", "2024-07-01", dtype="M8[D]").astype("M8[us]")
    found = cut("time", pa.array(days, pa.timestamp("us", "UTC")))
    months = [label for by, label in found if by == "period"]
    assert sorted(months) == [f"2024-0{month}" for month in range(1, 7)]
    assert found["weekday", "Mon"][0] == 0, "the first of January 2024 was a Monday"
    assert not [by for by, _ in found if by == "hour"], "dates have no hour"
    hours = cut("time", pa.array(days + np.timedelta64(13, "h"), pa.timestamp("us", "UTC")))
    assert len(hours["hour", "12–18"]) == len(days)
    years = cut("time", pa.array(np.array(["2019", "2020", "2021", "2022"], "M8[us]"), pa.timestamp("us", "UTC")))
    assert [label for by, label in years if by == "period"] == ["2019", "2020", "2021", "2022"]
    weeks = cut("time", pa.array(days[:30], pa.timestamp("us", "UTC")))
    assert weeks["period", "week of 2024-01-08"] == list(range(7, 14))


def test_every_row_with_a_value_is_in_one_slice_of_each_kind() -> None:
    rng = np.random.default_rng(0)
    numbers = np.round(rng.normal(size=500), 1)
    found = cut("number", pa.array(numbers))
    rows = sorted(row for (by, _), rows in found.items() if by == "value" for row in rows)
    assert rows == list(range(500))


def test_columns_are_named_or_all_that_a_person_would_look_at() -> None:
    def nothing(name: str) -> Iterator[pa.Array]:
        return iter(())

    roles = {"text": "input", "day": "time", "gender": "meta", "who": "subject", "id": "id", "y": "target"}
    schema = Schema(columns=tuple(Column(name=n, type="category", role=r) for n, r in roles.items()))  # type: ignore[arg-type]
    assert [column.name for column in columns_of(schema, None, nothing)] == ["text", "day", "gender"]
    assert [column.name for column in columns_of(schema, ["who"], nothing)] == ["who"]
    with pytest.raises(DataError, match="no column `nobody`"):
        columns_of(schema, ["nobody"], nothing)
