"""What a split promises: other rows change nothing, groups stay together, the future stays unseen."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.data.dataset import Dataset
from luban.errors import ConfigError, DataError

from .memory import make, split_of

PLAIN = ["unicode", "missing"]


def table(numbers: range | list[int]) -> dict[str, list[Any]]:
    return {
        "n": [str(n) for n in numbers],
        "size": [str(n * 7 % 1009) for n in numbers],
        "label": ["ab"[n % 2] for n in numbers],
        "who": [f"p{n % 40}" for n in numbers],
        "at": [f"2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in numbers],
    }


COLUMNS = {"n": "category", "who": {"type": "category", "role": "meta"}, "at": {"type": "time", "role": "meta"}}


def split(out: Path, rows: dict[str, list[Any]], by: str, steps: list[Any] | None = None, **more: Any) -> Dataset:
    config = {"steps": PLAIN if steps is None else steps, "split": {"by": by, **more}}
    return make(out, rows, {"target": "label", "columns": COLUMNS}, config)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(by=st.sampled_from(["random", "stratified"]), where=st.integers(0, 700), count=st.integers(1, 60))
def test_inserted_rows_move_no_other_row(
    tmp_path_factory: pytest.TempPathFactory, by: str, where: int, count: int
) -> None:
    folder = tmp_path_factory.mktemp("splits")
    numbers = list(range(700))
    more = numbers[:where] + list(range(10_000, 10_000 + count)) + numbers[where:]
    before = split_of(split(folder / "a", table(numbers), by), "n")
    after = split_of(split(folder / "b", table(more), by), "n")
    assert {n: after[n] for n in before} == before


def test_an_appended_copy_goes_with_the_row_that_was_there(tmp_path: Path) -> None:
    rows = table(range(700))
    copies = {name: values + values[100:200] for name, values in rows.items()}
    group = [*PLAIN, {"kind": "duplicates", "action": "group"}]
    before = split(tmp_path / "a", rows, "random", group)
    after = split(tmp_path / "b", copies, "random", group)
    assert after.values("_split")[:700] == before.values("_split")
    assert after.values("_split")[700:] == before.values("_split")[100:200]


@pytest.mark.parametrize("by", ["group", "subject"])
def test_groups_do_not_straddle(tmp_path: Path, by: str) -> None:
    dataset = split(tmp_path / "d", table(range(700)), by, column="who")
    parts = defaultdict(set)
    for row in dataset.table(["who", "_split", "_group"]).to_pylist():
        parts[row["who"]].add((row["_split"], row["_group"]))
    assert all(len(found) == 1 for found in parts.values())
    assert min(dataset.splits.values()) > 0


def test_groups_and_copies_are_united(tmp_path: Path) -> None:
    rows = table(range(600))
    for n in range(0, 600, 2):  # n and n + 1 have the same inputs, and belong to two people
        for name in ("n", "size"):
            rows[name][n + 1] = rows[name][n]
    rows["who"] = [f"p{n // 2 * 2 + (n % 2) * 1}" for n in range(600)]
    steps = [*PLAIN, {"kind": "duplicates", "action": "group"}]
    dataset = split(tmp_path / "d", rows, "group", steps, column="who")
    seen = dataset.values("_split")
    assert all(seen[n] == seen[n + 1] for n in range(0, 600, 2))
    assert dataset.report["rows"]["quarantined"] == {}


def test_equal_rows_in_a_table_stay_together_unless_they_are_most_of_it(tmp_path: Path) -> None:
    rows = table(range(200))
    rows["n"][50:80] = ["7"] * 30
    rows["size"][50:80] = ["7"] * 30
    rows["n"][90:92] = ["8"] * 2
    rows["size"][90:92] = ["9"] * 2
    dataset = make(tmp_path / "d", rows, {"target": "label", "columns": COLUMNS}, {"split": {"by": "random"}})
    groups = dataset.values("_group")
    assert groups[90] == groups[91]
    assert len(set(groups[50:80])) == 30
    assert any("taken for coincidence" in note for note in dataset.report["notes"])


def test_by_time_the_latest_are_the_test(tmp_path: Path) -> None:
    dataset = split(tmp_path / "d", table(range(336)), "time", column="at")
    times = {part: dataset.values("at", part) for part in ("train", "valid", "test")}
    assert max(times["train"]) < min(times["valid"])
    assert max(times["valid"]) < min(times["test"])
    assert 0.15 < len(times["test"]) / 336 < 0.25


def test_by_time_copies_go_to_their_latest_part(tmp_path: Path) -> None:
    rows = table(range(336))
    rows["n"][0] = rows["n"][335]
    rows["size"][0] = rows["size"][335]
    rows["at"][0], rows["at"][335] = "2024-01-01", "2024-12-31"
    dataset = split(tmp_path / "d", rows, "time", [*PLAIN, {"kind": "duplicates", "action": "group"}], column="at")
    assert dataset.values("_split")[0] == "test" == dataset.values("_split")[335]


def test_by_time_rows_without_a_time_are_set_aside(tmp_path: Path) -> None:
    rows = table(range(336))
    rows["at"][5] = ""
    dataset = split(tmp_path / "d", rows, "time", column="at")
    assert dataset.report["rows"]["quarantined"] == {"time-missing": 1}


def test_by_time_needs_more_than_one_instant(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one instant"):
        split(tmp_path / "d", {**table(range(50)), "at": ["2024-01-01"] * 50}, "time", column="at")


@pytest.mark.parametrize("by", ["group", "subject", "time"])
def test_a_missing_column_is_said(tmp_path: Path, by: str) -> None:
    with pytest.raises(ConfigError, match="no column has that role"):
        split(tmp_path / "d", table(range(50)), by)


@pytest.mark.parametrize(
    ("data", "way"),
    [({}, "stratified"), ({"subject": "who"}, "subject"), ({"group": "who"}, "group"), ({"time": "at"}, "time")],
)
def test_auto_follows_roles(tmp_path: Path, data: dict[str, str], way: str) -> None:
    columns = {name: kind for name, kind in COLUMNS.items() if name == "n"}
    dataset = make(tmp_path / "d", table(range(336)), {"target": "label", "columns": columns, **data}, {"steps": PLAIN})
    assert dataset.report["split"]["by"] == way


def test_rare_classes_are_in_every_part(tmp_path: Path) -> None:
    rows = table(range(700))
    rows["label"][:10] = ["rare"] * 10
    counts = split(tmp_path / "d", rows, "stratified").report["class_counts_by_split"]
    assert [counts[part]["rare"] for part in ("train", "valid", "test")] == [7, 1, 2]
