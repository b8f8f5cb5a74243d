"""Which values were changed: every one of them, in source order, whatever became of its row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.data.dataset import Dataset
from luban.prepare import changes, spool
from luban.prepare.changes import Marks, marked

from .memory import CLEAN, changed, make, quarantine

ROWS = 60
DATA = {"target": "label", "columns": {"text": "text", "price": "number", "label": "category"}}


def table() -> dict[str, list[Any]]:
    """Rows in which no value is changed."""
    return {
        "text": [f"a room with number {n} and a bed" for n in range(ROWS)],
        "price": [f"{n}.5" for n in range(ROWS)],
        "label": ["yes" if n % 3 else "no" for n in range(ROWS)],
    }


def counted(dataset: Dataset) -> dict[tuple[str, str], int]:
    return {(entry["column"], entry["rule"]): entry["count"] for entry in dataset.report["changes"]}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=19, max_size=19), min_size=1, max_size=30), st.integers(1, 19))
def test_marks_come_back_in_order(rows: list[list[bool]], num_rules: int) -> None:
    truth = np.array(rows)[:, :num_rules]
    marks = Marks(len(rows), num_rules)
    for rule in range(num_rules):
        marks.tell(np.flatnonzero(truth[:, rule]))
    cut = len(rows) // 2
    found = [
        (row + start, rule)
        for start, part in ((0, marks.column().slice(0, cut)), (cut, marks.column().slice(cut)))
        for places, numbers in marked(part)
        for row, rule in zip(places.tolist(), numbers.tolist(), strict=True)
    ]
    assert found == [tuple(pair) for pair in np.argwhere(truth).tolist()]


def test_every_changed_value_is_written_also_of_rows_set_aside(tmp_path: Path) -> None:
    rows = table()
    rows["text"][3], rows["price"][3] = "ＡＢＣ\u200b", "1,200 元"
    rows["label"][7] = " N/A"  # white space, then missing: the row is set aside
    rows["price"][11], rows["text"][11] = "dear", "e\u0301"  # cannot be read: set aside
    rows["text"][20], rows["price"][20] = "  a room with number 19 and a bed", "19.5 "  # set aside as a copy
    rows["label"][20] = rows["label"][19]
    dataset = make(tmp_path / "d", rows, DATA, {"steps": CLEAN})
    aside = {row["where"]: row["row_id"] for row in quarantine(dataset)}
    assert set(aside) == {"row 8", "row 12", "row 21"}
    assert dataset.report["rows"]["quarantined"] == {"duplicates": 1, "parse": 1, "target-missing": 1}
    expected = [
        (dataset.values("_row_id")[3], column, rule) for column, rule in [("text", "unicode"), ("price", "parse")]
    ]
    found = changed(dataset)
    assert found[:2] == expected
    assert [row[1:] for row in found if row[0] == aside["row 8"]] == [("label", "unicode"), ("label", "missing")]
    assert [row[1:] for row in found if row[0] == aside["row 12"]] == [("text", "unicode")]
    assert {row[1] for row in found if row[0] == aside["row 21"]} <= {"text", "price"}
    order = [expected[0][0], aside["row 8"], aside["row 12"], aside["row 21"]]
    assert list(dict.fromkeys(row[0] for row in found)) == order
    assert Counter(row[1:] for row in found) == counted(dataset)


def test_a_value_that_two_steps_change_is_there_twice(tmp_path: Path) -> None:
    rows = table()
    rows["text"][5] = "Ｎ/Ａ"
    twice = [{"kind": "unicode", "form": "NFC"}, {"kind": "missing"}, {"kind": "unicode", "form": "NFKC"}]
    rows["text"][9] = "Ａ² of a bed"  # changed by both uses of one step
    dataset = make(tmp_path / "d", rows, DATA, {"steps": twice})
    names = dataset.values("_row_id")
    assert changed(dataset) == [
        (names[5], "text", "unicode"),
        (names[5], "text", "missing"),
        (names[9], "text", "unicode"),
        (names[9], "text", "unicode"),
    ]
    assert counted(dataset) == {("text", "unicode"): 3, ("text", "missing"): 1}


def test_nothing_changed_is_an_empty_file(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", table(), DATA, {"steps": CLEAN})
    found = pq.read_table(dataset.folder / "changed.parquet")
    assert found.schema.equals(changes.SCHEMA)
    assert len(found) == 0
    assert dataset.report["changes"] == []


def test_what_was_changed_is_not_part_of_the_fingerprint(tmp_path: Path) -> None:
    """Row ids are of raw values, so raw values must be equal; one dataset only is told to change them."""
    rows = {**table(), "note": [None] * ROWS}
    rows["price"][5] = "７.5"
    plain = make(tmp_path / "a", rows, DATA, {"steps": ["missing"]})
    cleaned = make(tmp_path / "b", rows, DATA, {"steps": ["unicode", "missing"]})
    assert counted(plain) == {("price", "parse"): 1}
    assert counted(cleaned) == {("price", "unicode"): 1}
    assert plain.fingerprint == cleaned.fingerprint


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (13, 2), (1000, 1)])
def test_batches_and_workers_change_no_byte(
    tmp_path: Path, size: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = table()
    rows["price"][::2] = ["1,200"] * (ROWS // 2)
    rows["text"][::3] = [f"ＡＢＣ room {n}" for n in range(ROWS // 3)]
    monkeypatch.setattr(changes, "GROUP_ROWS", 8)
    one = make(tmp_path / "one", rows, DATA, {"steps": CLEAN})
    assert sum(counted(one).values()) == 50 == len(changed(one))
    assert pq.ParquetFile(one.folder / "changed.parquet").num_row_groups == 7
    monkeypatch.setattr(spool, "BATCH_ROWS", max(size, 4))
    other = make(tmp_path / "other", rows, DATA, {"steps": CLEAN, "num_workers": workers}, size=size)
    assert (other.folder / "changed.parquet").read_bytes() == (one.folder / "changed.parquet").read_bytes()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b ", "Ｂ", "", "NA"]), st.sampled_from(["1", "1,2", "x", "１"]), st.booleans()
        ),
        min_size=30,
        max_size=60,
    )
)
def test_counts_are_those_of_the_report(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    columns = {
        "text": [row[0] for row in rows] + ["fine", "poor"] * 20,
        "price": [row[1] for row in rows] + ["1", "2"] * 20,
        "label": [" yes" if row[2] else "no" for row in rows] + ["yes", "no"] * 20,
    }
    steps = {"steps": ["unicode", "missing"], "max_bad_share": 1.0}
    dataset = make(tmp_path_factory.mktemp("x") / "d", columns, DATA, steps)
    found = changed(dataset)
    assert Counter(row[1:] for row in found) == counted(dataset)
    everyone = {*dataset.values("_row_id"), *(row["row_id"] for row in quarantine(dataset))}
    assert {row[0] for row in found} <= everyone
