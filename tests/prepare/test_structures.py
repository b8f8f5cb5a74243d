"""Columns of objects, lists in lists, bytes: carried along unless asked for, and then refused by name."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luban.bundle.preprocess import Preprocess
from luban.data.config import DataConfig
from luban.data.dataset import Dataset
from luban.data.schema import Column, Schema
from luban.data.sources.parquet import ParquetFiles
from luban.engine.local import LocalEngine
from luban.errors import DataError
from luban.prepare.config import PrepareConfig
from luban.prepare.run import prepare

ROWS = 60
STRUCTURES: dict[str, pa.Array] = {
    "object": pa.array([{"a": n, "b": "x"} for n in range(ROWS)]),
    "map": pa.array([[("k", n)] for n in range(ROWS)], pa.map_(pa.string(), pa.int64())),
    "objects": pa.array([[{"a": n}] for n in range(ROWS)]),
    "lists": pa.array([[["a"], [str(n)]] for n in range(ROWS)]),
    "vector": pa.array([[n / 3, 2.0] for n in range(ROWS)], pa.list_(pa.float32(), 2)),
    "bytes": pa.array([b"\xff%d" % n for n in range(ROWS)]),
}


def prepared(folder: Path, values: pa.Array, **data: Any) -> Dataset:
    """A dataset of a Parquet file: column `v`, a number, two classes."""
    numbers, classes = [n % 7 + 0.5 for n in range(ROWS)], ["yes" if n % 2 else "no" for n in range(ROWS)]
    pq.write_table(pa.table({"v": values, "n": numbers, "y": classes}), folder / "a.parquet")
    config = DataConfig.model_validate({"source": {"kind": "parquet", "path": "a.parquet"}, "target": "y", **data})
    (folder / "out").mkdir()
    source = ParquetFiles(ParquetFiles.Config(path="a.parquet")).at(folder)
    return prepare(source, config, PrepareConfig(), folder / "out", seed=0, engine=LocalEngine())


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_is_left_out_and_the_others_go_on(tmp_path: Path, name: str) -> None:
    dataset = prepared(tmp_path, STRUCTURES[name])
    assert [column.name for column in dataset.schema.inputs] == ["n"]
    assert dataset.schema["v"].role == "meta"
    assert any("`v` is not learnt from: it holds" in note for note in dataset.report["notes"])


@pytest.mark.parametrize("name", [name for name in STRUCTURES if name != "vector"])
@pytest.mark.parametrize("kind", ["text", "number", "category", "tags"])
def test_a_structure_that_is_asked_for_is_refused_by_name(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(DataError, match=r"(?s)`v` must be a .* cannot be read.*It holds .*write .*role: meta"):
        prepared(tmp_path, STRUCTURES[name], columns={"v": kind})


def test_a_structure_as_the_target_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)`v` must be a .*It holds objects"):
        prepared(tmp_path, STRUCTURES["object"], target="v")


def test_what_is_carried_along_is_kept_as_json(tmp_path: Path) -> None:
    dataset = prepared(tmp_path, STRUCTURES["object"], columns={"v": {"role": "meta"}})
    assert set(dataset.values("v")) == {f'{{"a": {n}, "b": "x"}}' for n in range(ROWS)}


@pytest.mark.parametrize(
    ("values", "kind", "first"),
    [
        (pa.array([Decimal(n % 9) / 4 for n in range(ROWS)], pa.decimal128(10, 2)), "number", [0.0, 0.25]),
        (pa.array([dt.timedelta(minutes=n % 9) for n in range(ROWS)]), "number", [0.0, 60.0]),
        (pa.array([["x", "z"][n % 2] for n in range(ROWS)]).dictionary_encode(), "category", ["x", "z"]),
        (pa.array([n % 9 + 0.5 for n in range(ROWS)]).dictionary_encode(), "number", [0.5, 1.5]),
        (pa.array([dt.time(n % 3, 5) for n in range(ROWS)], pa.time32("s")), "category", ["00:05:00", "01:05:00"]),
        (pa.array([["a", "b"], ["c"]] * (ROWS // 2), pa.large_list(pa.string())), "tags", [["a", "b"], ["c"]]),
    ],
)
def test_types_of_parquet_that_can_be_read(tmp_path: Path, values: pa.Array, kind: str, first: list[Any]) -> None:
    dataset = prepared(tmp_path, values)
    assert (dataset.schema["v"].type, dataset.schema["v"].role) == (kind, "input")
    assert all(value in dataset.values("v") for value in first)


def test_a_structure_in_a_file_to_answer_is_an_error_of_its_row() -> None:
    schema = Schema(columns=(Column(name="v", type="text"),))
    batch = pa.record_batch({"v": [{"a": 1}, None]})
    found = Preprocess(schema, []).batch(batch)
    assert found.errors[0] == "v: is a dict, not text"
    assert found.errors == Preprocess(schema, []).rows(batch.to_pylist()).errors
