"""From rows to a dataset: counts that add up, one answer whatever the batches, errors in words."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.bundle.manifest import RowStepSpec
from luban.bundle.preprocess import Preprocess
from luban.errors import ConfigError, DataError, LubanError, StoreError
from luban.prepare import spool

from .memory import CLEAN, changed, make, quarantine

WORDS = ["good", "bad", "fine", "poor", "warm", "cold", "new", "old"]


def reviews(count: int) -> dict[str, list[str]]:
    texts = [
        f"a {WORDS[n % 8]} room number {n}, {WORDS[n // 8 % 8]} bed, and {WORDS[n // 64 % 8]} food"
        for n in range(count)
    ]
    return {
        "text": texts,
        "price": [f"{n % 90}.5" for n in range(count)],
        "label": ["yes" if n % 3 else "no" for n in range(count)],
    }


def test_rows_become_a_dataset_with_types_roles_and_a_split(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", reviews(200), {"target": "label"}, {"steps": CLEAN})
    assert [(c.name, c.type, c.role) for c in dataset.schema.columns] == [
        ("text", "text", "input"),
        ("price", "number", "input"),
        ("label", "category", "target"),
    ]
    assert dataset.num_rows == 200 == sum(dataset.splits.values())
    assert set(dataset.splits) == {"train", "valid", "test"}
    assert dataset.values("price")[:3] == [0.5, 1.5, 2.5]
    assert len(set(dataset.values("_row_id"))) == 200
    assert dataset.report["class_counts"] == {"no": 67, "yes": 133}
    assert all(column["why"] for column in dataset.report["columns"])
    assert dataset.info["row_steps"][0]["columns"] == ["text", "price", "label"]
    assert not list((tmp_path / "d").glob("spool-*"))


def test_nothing_vanishes(tmp_path: Path) -> None:
    rows = reviews(60)
    for name, values in {
        "text": ["", "twice the same text", " twice the same text", "disputed", "disputed", "fine", "n/a"],
        "price": ["NA", "1", "1", "2", "2", "dear", ""],
        "label": ["yes", "yes", "yes", "yes", "no", "no", "no"],
    }.items():
        rows[name] += values
    rows["text"].append("without a label")
    rows["price"].append("3")
    rows["label"].append(" - ")
    dataset = make(tmp_path / "d", rows, {"target": "label"}, {"steps": CLEAN}, rejects=2)
    counts = dataset.report["rows"]
    aside = {"no-input": 2, "duplicates": 1, "label-conflicts": 2, "parse": 1, "target-missing": 1, "source": 2}
    assert counts == {"found": 70, "kept": 61, "quarantined": aside}
    found = quarantine(dataset)
    assert len(found) == 9
    by_rule = {row["rule"]: row for row in found}
    assert by_rule["parse"]["column"] == "price"
    assert json.loads(by_rule["parse"]["raw"]) == {"text": "fine", "price": "dear", "label": "no"}
    assert by_rule["duplicates"]["where"] == "row 63"
    assert json.loads(by_rule["duplicates"]["raw"])["text"] == " twice the same text"
    kept = dataset.table(["text", "_row_id"]).to_pylist()
    assert {"text": "twice the same text", "_row_id": by_rule["duplicates"]["other"]} in kept
    disputed = [row for row in found if row["rule"] == "label-conflicts"]
    assert {row["other"] for row in disputed} == {row["row_id"] for row in disputed}
    assert by_rule["source"]["raw"] == "a,b,c"
    assert by_rule["source"]["row_id"] is None


def test_conflicts_are_judged_on_all_copies(tmp_path: Path) -> None:
    rows = reviews(60)
    for text, label in [("one two three", "yes"), ("one two three", "yes"), ("one two three", "no")]:
        rows["text"].append(text)
        rows["price"].append("1")
        rows["label"].append(label)
    dataset = make(tmp_path / "d", rows, {"target": "label"}, {"steps": CLEAN})
    assert dataset.report["rows"]["quarantined"] == {"label-conflicts": 3}
    assert "one two three" not in dataset.values("text")


def test_numbers_that_differ_do_not_conflict(tmp_path: Path) -> None:
    rows = reviews(60)
    del rows["label"]
    rows["text"] += ["one two three"] * 2
    rows["price"] += ["1", "2"]
    dataset = make(tmp_path / "d", rows, {"target": "price", "columns": {"text": "text"}}, {"steps": CLEAN})
    assert dataset.schema["price"].type == "number"
    assert dataset.report["rows"]["quarantined"] == {"duplicates": 1}


@pytest.mark.parametrize("size", [1, 13, 1000])
def test_batches_and_workers_change_nothing(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reviews(90)
    rows = {name: values + values[:20] for name, values in rows.items()}
    one = make(tmp_path / "one", rows, {"target": "label"}, {"steps": CLEAN})
    monkeypatch.setattr(spool, "BATCH_ROWS", max(size, 4))
    workers = 2 if size == 13 else 1
    other = make(
        tmp_path / "else" / "two", rows, {"target": "label"}, {"steps": CLEAN, "num_workers": workers}, size=size
    )
    assert other.fingerprint == one.fingerprint
    assert other.report["rows"] == one.report["rows"]
    assert quarantine(other) == quarantine(one)
    assert changed(other) == changed(one)


def test_the_fingerprint_changes_with_values_seed_types_and_rows(tmp_path: Path) -> None:
    rows = reviews(90)
    prints = {make(tmp_path / "a", rows, {"target": "label"}, {"steps": CLEAN}).fingerprint}
    prints.add(make(tmp_path / "b", rows, {"target": "label"}, {"steps": CLEAN}, seed=1).fingerprint)
    prints.add(
        make(tmp_path / "c", rows, {"target": "label", "columns": {"price": "category"}}, {"steps": CLEAN}).fingerprint
    )
    prints.add(
        make(tmp_path / "d", {n: v[:-1] for n, v in rows.items()}, {"target": "label"}, {"steps": CLEAN}).fingerprint
    )
    rows["price"][5] = "7.25"
    prints.add(make(tmp_path / "e", rows, {"target": "label"}, {"steps": CLEAN}).fingerprint)
    assert len(prints) == 5


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b ", "b", "", "NA"]), st.sampled_from(["1", "2", "x", ""]), st.sampled_from("pq ")
        ),
        min_size=30,
        max_size=80,
    )
)
def test_counts_add_up_whatever_the_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    columns = {name: [row[n] for row in rows] for n, name in enumerate(["word", "number", "label"])}
    kinds = {"word": "text", "number": "number"}
    config = {"steps": CLEAN, "max_bad_share": 1.0}
    try:
        dataset = make(tmp_path_factory.mktemp("x") / "d", columns, {"target": "label", "columns": kinds}, config)
    except DataError:
        return
    counts = dataset.report["rows"]
    assert counts["found"] == len(rows) == counts["kept"] + sum(counts["quarantined"].values())
    assert len(quarantine(dataset)) + dataset.table(["label"]).num_rows == len(rows)


def typed() -> pa.Table:
    return pa.table(
        {
            "n": pa.array([1.5, None, float("nan"), float("inf")] + [float(n) for n in range(40)]),
            "b": pa.array([True, False] * 22),
            "i": pa.array(range(44), pa.int32()).cast(pa.int64()),
            "y": pa.array([n % 2 for n in range(44)]),
        }
    )


def test_typed_columns_nan_and_infinity(tmp_path: Path) -> None:
    dataset = make(tmp_path / "d", typed(), {"target": "y", "columns": {"n": "number", "i": "number"}})
    assert dataset.report["rows"]["quarantined"] == {"parse": 1}
    assert json.loads(quarantine(dataset)[0]["raw"])["n"] == float("inf")
    assert dataset.values("n")[:4] == [1.5, None, None, 0.0]
    assert dataset.schema["y"].type == "category"


@pytest.mark.parametrize(
    ("change", "data", "kind", "words"),
    [
        (
            {"label": ["yes"] * 60},
            {"target": "label"},
            DataError,
            "at least two different values, but it has one: `yes`",
        ),
        ({"label": ["", "NA", None] * 20}, {"target": "label"}, DataError, "has no value"),
        ({}, {"target": "labels"}, ConfigError, "Did you mean `label`?"),
        ({}, {"target": "label", "columns": {"txet": "text"}}, ConfigError, "Did you mean `text`?"),
        ({"_split": ["x"] * 60}, {"target": "label"}, DataError, "`_split` is Luban's own"),
        ({"_hash": ["x"] * 60}, {"target": "label"}, DataError, "`_hash` is Luban's own"),
        (
            {"price": ["dear", "cheap"] * 30},
            {"target": "label", "columns": {"price": "number"}},
            DataError,
            "price: category",
        ),
    ],
)
def test_bad_data_is_refused_in_words(
    tmp_path: Path, change: dict[str, Any], data: dict[str, Any], kind: type[LubanError], words: str
) -> None:
    with pytest.raises(kind) as error:
        make(tmp_path / "d", {**reviews(60), **change}, data, {"steps": CLEAN})
    assert words in str(error.value)
    assert not (tmp_path / "d" / "dataset.json").exists()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", refuse)
    with pytest.raises(StoreError, match="The dataset could not be written"):
        make(tmp_path / "d", reviews(60), {"target": "label"}, {"steps": CLEAN})
    assert not list((tmp_path / "d").glob("spool-*"))


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        make(tmp_path / "d", {"a": pa.array([], pa.string())})


def test_constant_and_empty_columns_are_not_learnt_from(tmp_path: Path) -> None:
    rows = {**reviews(60), "same": ["x"] * 60, "none": [""] * 60, "asked": ["x"] * 60}
    columns = {"asked": {"type": "category", "role": "input"}}
    dataset = make(tmp_path / "d", rows, {"target": "label", "columns": columns}, {"steps": CLEAN})
    roles = {c.name: c.role for c in dataset.schema.columns}
    assert (roles["same"], roles["none"], roles["asked"]) == ("meta", "meta", "input")
    assert any("`same` is not learnt from" in note for note in dataset.report["notes"])


def test_a_row_with_only_constants_has_no_input(tmp_path: Path) -> None:
    rows = {**reviews(60), "same": ["x"] * 60}
    rows["text"][4] = rows["price"][4] = ""
    dataset = make(tmp_path / "d", rows, {"target": "label"}, {"steps": CLEAN})
    assert dataset.report["rows"]["quarantined"] == {"no-input": 1}


def test_a_class_with_one_row_is_kept_in_training_and_said(tmp_path: Path) -> None:
    rows = reviews(200)
    rows["label"][77] = "once"
    dataset = make(tmp_path / "d", rows, {"target": "label"}, {"steps": CLEAN})
    assert dataset.report["class_counts_by_split"]["train"]["once"] == 1
    assert "Class `once` has one row; it is kept in training." in dataset.report["notes"]


def test_a_million_characters_and_emoji(tmp_path: Path) -> None:
    rows = reviews(60)
    rows["text"][0] = "长" * 1_000_000
    rows["text"][1] = "👨‍👩‍👧 ❤️ ok"
    dataset = make(tmp_path / "d", rows, {"target": "label"}, {"steps": CLEAN})
    assert dataset.values("text")[1] == "👨‍👩‍👧 ❤️ ok"
    assert len(dataset.values("text")[0]) == 1_000_000


def test_an_unreadable_value_elsewhere_is_missing_and_said(tmp_path: Path) -> None:
    rows = {**reviews(60), "when": ["2024-01-02"] * 59 + ["whenever"]}
    config = {"steps": CLEAN, "split": {"by": "random"}}
    dataset = make(
        tmp_path / "d", rows, {"target": "label", "columns": {"when": {"type": "time", "role": "meta"}}}, config
    )
    assert dataset.num_rows == 60
    assert dataset.values("when")[-1] is None
    assert any("`when`: 1 values cannot be read" in note for note in dataset.report["notes"])


def test_a_bundle_cleans_rows_as_prepare_did(tmp_path: Path) -> None:
    """The row steps that travel in a bundle give the dataset's values from the raw rows, one by one and in bulk."""
    rows = reviews(60)
    rows["text"][:4] = ["  ＡＢＣ  ", "schÃ¶n\u200b", "N/A", "e\u0301 ok"]
    rows["price"][:4] = ["1,200", "无", "unknown", " 3 "]
    rows["size"] = ["S", "无"] * 30
    dataset = make(tmp_path / "d", rows, {"target": "label", "columns": {"price": "number"}}, {"steps": CLEAN})
    assert dataset.report["rows"]["quarantined"] == {}
    steps = [RowStepSpec.model_validate(step) for step in dataset.info["row_steps"]]
    preprocess = Preprocess(dataset.schema, steps)
    names = [column.name for column in dataset.schema.inputs]
    expected = {name: dataset.values(name) for name in names}
    assert preprocess.batch(pa.table(rows)).columns == expected
    assert preprocess.rows([{name: rows[name][n] for name in rows} for n in range(60)]).columns == expected
    assert expected["price"][:4] == [1200.0, None, None, 3.0]
    assert expected["size"][:2] == ["S", "无"]
