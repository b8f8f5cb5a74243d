"""Whole files: one row in, one row out, in order, whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.sinks.base import Sink
from luban.data.sinks.csv import CsvSink
from luban.data.sinks.parquet import ParquetSink
from luban.data.sources import open_path
from luban.data.sources.base import RawBatch, Reject, Source
from luban.errors import DataError
from luban.serve.jobs.batch import Counts, predict_file

from ..conftest import FakeBundle

BUNDLE: object = FakeBundle()


def predicted(tmp_path: Path, text: str, **more: object) -> tuple[list[str], Counts]:
    """The lines that come out for a CSV file, and the counts."""
    (tmp_path / "in.csv").write_text(text, "utf-8")
    out = tmp_path / "out.csv"
    counts = predict_file(BUNDLE, open_path(str(tmp_path / "in.csv")), CsvSink(), str(out), **more)  # type: ignore[arg-type]
    return out.read_text("utf-8").splitlines(), counts


def test_columns_are_kept_and_answers_follow(tmp_path: Path) -> None:
    lines, counts = predicted(tmp_path, "id,text,stars\n007,a longer text,5\n008,short,\n009,bad,1\n")
    assert lines == [
        "id,text,stars,label,confidence,error",
        "007,a longer text,5,long,0.75,",
        "008,short,,short,0.75,",
        "009,bad,1,,,text: is bad",
    ]
    assert counts == Counts(num_rows=3, num_errors=1, unread=("id",))


def test_a_ragged_row_comes_out_at_its_place(tmp_path: Path) -> None:
    lines, counts = predicted(tmp_path, "text,stars\na,1\nb\nc,3\nd,4,5\n", batch_rows=1)
    assert [line.split(",")[0] for line in lines] == ["text", "a", "", "c", ""]
    assert "in.csv, line 3: has 1 fields where 2 are expected" in lines[2]
    assert (counts.num_rows, counts.num_errors) == (4, 2)


def test_names_that_clash_get_a_suffix(tmp_path: Path) -> None:
    lines, counts = predicted(tmp_path, "text,label,error,error_predicted\nshort,long,none,x\n")
    assert lines[0] == "text,label,error,error_predicted,label_predicted,confidence,error_predicted_predicted"
    assert lines[1] == "short,long,none,x,short,0.75,"
    assert counts.renamed == {"label": "label_predicted", "error": "error_predicted_predicted"}
    assert counts.missing == ("stars",)


def test_no_input_column_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`Text` should perhaps be `text`"):
        predicted(tmp_path, "Text,x\na,1\n")
    assert not (tmp_path / "out.csv").exists()


def test_progress_counts_up(tmp_path: Path) -> None:
    seen: list[int] = []
    text = "text\n" + "".join(f"row {number}\n" for number in range(2500))
    lines, _ = predicted(tmp_path, text, progress=lambda counts: seen.append(counts.num_rows))
    assert seen == sorted(seen)
    assert seen[-1] == 2500
    assert [line.split(",")[0] for line in lines[1:]] == [f"row {number}" for number in range(2500)]


def test_typed_columns_stay_typed(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "stars": [4.5], "seen": [True]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    predict_file(BUNDLE, open_path(str(tmp_path / "in.parquet")), ParquetSink(), str(out))  # type: ignore[arg-type]
    assert pq.read_table(out).to_pylist() == [
        {"text": "a", "stars": 4.5, "seen": True, "label": "short", "confidence": 0.75, "error": None}
    ]


class Made(Source):
    """Batches made by a test."""

    batches: list[RawBatch]

    def read(self, batch_rows: int = 65_536) -> Iterator[RawBatch]:
        yield from self.batches

    def fingerprint(self) -> str:
        return ""


class Kept(Sink):
    """Keeps what is written."""

    def open(self, path: str, schema: pa.Schema) -> None:
        self.rows: list[dict[str, object]] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.to_pylist()

    def close(self, failed: bool) -> None:
        self.failed = failed


def batch(texts: list[str], rejects: list[tuple[str, int | None]]) -> RawBatch:
    rows = pa.RecordBatch.from_arrays([pa.array(texts, pa.string())], ["text"])
    return RawBatch(rows, tuple(Reject(name, "", "is none", position) for name, position in rejects))


def names(batches: list[RawBatch]) -> list[object]:
    source, sink = Made(), Kept()
    source.batches = batches
    predict_file(BUNDLE, source, sink, "-")  # type: ignore[arg-type]
    return [row["text"] or str(row["error"]).partition(":")[0] for row in sink.rows]


@given(
    is_reject=st.lists(st.booleans(), min_size=1, max_size=30),
    cuts=st.lists(st.integers(1, 8), min_size=30, max_size=30),
    early=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_mixture_comes_out_in_order(is_reject: list[bool], cuts: list[int], early: bool) -> None:
    """Rejects may be told in the batch where they stand, or long before."""
    rejects = [(f"{at}", at) for at, bad in enumerate(is_reject) if bad]
    rows = [(f"{at}", at) for at, bad in enumerate(is_reject) if not bad]
    batches: list[RawBatch] = []
    told = rejects if early else []
    rest = [] if early else rejects
    for size in cuts:
        piece, rows = rows[:size], rows[size:]
        end = rows[0][1] if rows else len(is_reject)
        now, rest = [each for each in rest if each[1] < end], [each for each in rest if each[1] >= end]
        batches.append(batch([name for name, _ in piece], [*told, *now]))
        told = []
    assert names(batches) == [f"{at}" for at in range(len(is_reject))]


def test_rejects_of_no_known_place_come_last_in_their_batch() -> None:
    assert names([batch(["a", "b"], [("x", None)]), batch(["c"], [("y", 4)])]) == ["a", "b", "x", "c", "y"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        predicted(tmp_path, "text\nfine\nexplode\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]
