import datetime as dt
import decimal
import io
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import fsspec
import openpyxl
import pyarrow as pa
import pytest

import luban.data.sinks.excel as excel_module
from luban.catalog import SINKS
from luban.data.binary import from_text
from luban.data.sinks import EXTENSIONS, open_sink
from luban.data.sources import open_path
from luban.errors import DataError, StoreError

BATCH = pa.RecordBatch.from_pydict(
    {
        "text": ["很好", 'say "hi", you', None],
        "n": [1, None, -3],
        "x": [0.1, 2.0, 1e300],
        "yes": [True, False, None],
        "day": pa.array([dt.date(2026, 1, 2), None, dt.date(2026, 1, 3)]),
        "at": pa.array([dt.datetime(2026, 1, 2, 3, 4, 5), dt.datetime(2026, 1, 2), None]),
    }
)
SUFFIXES = sorted(EXTENSIONS)


def write(path: str, *batches: pa.RecordBatch, kind: str | None = None, **settings: object) -> None:
    sink = SINKS.make(kind, settings) if kind else open_sink(path)
    with sink:
        sink.open(path, batches[0].schema)
        for batch in batches:
            sink.write(batch)


def read(path: str) -> list[dict[str, object]]:
    return [row for batch in open_path(path).read() for row in batch.rows.to_pylist()]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_back(tmp_path, suffix):
    path = str(tmp_path / f"out{suffix}")
    write(path, BATCH.slice(0, 2), BATCH.slice(2))
    rows = BATCH.to_pylist()
    if EXTENSIONS[suffix] == "csv":
        rows = [{key: _text(value) for key, value in row.items()} for row in rows]
    elif EXTENSIONS[suffix] == "jsonl":
        rows = [{key: _iso(value) for key, value in row.items()} for row in rows]
    assert read(path) == rows
    assert [each.name for each in tmp_path.iterdir()] == [f"out{suffix}"]


def _iso(value):
    return value.isoformat() if isinstance(value, dt.date) else value


def _text(value):
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(_iso(value))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_is_left_when_the_block_raises(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    path.write_text("as it was")
    sink = open_sink(str(path))
    with pytest.raises(ZeroDivisionError), sink:  # noqa: PT012
        sink.open(str(path), BATCH.schema)
        sink.write(BATCH)
        assert path.read_text() == "as it was"
        raise ZeroDivisionError
    assert path.read_text() == "as it was"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_block_that_raises_before_anything_is_opened(tmp_path, suffix):
    with pytest.raises(ZeroDivisionError), open_sink(f"out{suffix}"):
        raise ZeroDivisionError


FULL = """
import resource, sys
import pyarrow as pa
from luban.data.sinks import open_sink
from luban.errors import StoreError
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
batch = pa.RecordBatch.from_pydict({"id": [f"row {i * 7919 % 104729}" for i in range(20_000)]})
sink = open_sink(sys.argv[1])
try:
    with sink:
        sink.open(sys.argv[1], batch.schema)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
        for _ in range(20):
            sink.write(batch)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".xlsx"])
def test_a_full_disk_leaves_nothing_and_says_what_to_do(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert "cannot be written" in done.stdout
    assert "Make room" in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="There is no folder"):
        write(str(tmp_path / "none" / "out.csv"), BATCH)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_access(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be written"):
        write(str(tmp_path / "out.csv"), BATCH)


def test_an_unknown_extension_names_the_known():
    with pytest.raises(DataError, match=r"must end in one of \.csv, .*got `out\.txt`"):
        open_sink("out.txt")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_standard_output(monkeypatch, kind):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out))
    write("-", BATCH.select(["n"]), kind=kind)
    assert out.getvalue() == {"csv": b"n\n1\n\n-3\n", "jsonl": b'{"n":1}\n{"n":null}\n{"n":-3}\n'}[kind]


@pytest.mark.parametrize("kind", ["excel", "parquet"])
def test_what_cannot_go_to_standard_output(kind):
    with pytest.raises(DataError, match="standard output"):
        write("-", BATCH, kind=kind)


def test_urls():
    path = f"memory://{uuid.uuid4().hex}.csv"
    write(path, BATCH.select(["n"]))
    with fsspec.open(path) as stream:
        assert stream.read() == b"n\n1\n\n-3\n"


def test_csv_settings_and_nested_values(tmp_path):
    path = str(tmp_path / "out.csv")
    nested = pa.RecordBatch.from_pydict(
        {"a": [[1, 2], None], "b": [{"k": "é"}, {"k": None}], "c": [decimal.Decimal("1.50")] * 2}
    )
    write(path, nested, kind="csv", bom=True, delimiter=";")
    assert Path(path).read_bytes() == '\ufeffa;b;c\n[1,2];"{""k"":""é""}";1.50\n;"{""k"":null}";1.50\n'.encode()


def test_times_finer_than_a_microsecond(tmp_path):
    at = pa.array([1_700_000_000_000_000_001, None], pa.timestamp("ns"))
    write(str(tmp_path / "out.csv"), pa.RecordBatch.from_arrays([at], ["at"]))
    assert read(str(tmp_path / "out.csv")) == [{"at": "2023-11-14 22:13:20.000000001"}, {"at": None}]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".xlsx"])
def test_bytes_are_data_uris(tmp_path, suffix):
    files = [b"GIF89a...", None, b"\x00?"]
    write(str(tmp_path / f"out{suffix}"), pa.RecordBatch.from_pydict({"n": ["1", "2", "3"], "b": files}))
    found = [row["b"] for row in read(str(tmp_path / f"out{suffix}"))]
    assert found[0] == "data:image/gif;base64,R0lGODlhLi4u"
    assert [None if text is None else from_text(text) for text in found] == files


def test_json_lines_have_no_nan(tmp_path):
    write(str(tmp_path / "out.jsonl"), pa.RecordBatch.from_pydict({"x": [float("nan"), 1.5]}))
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [{"x": None}, {"x": 1.5}]


def test_excel_keeps_text_text_and_digits(tmp_path):
    path = str(tmp_path / "out.xlsx")
    values = ["=1+1", "https://x.example", "@SUM(A1)", "00123"]
    columns = {"t": values, "big": [2**60 + 1] * 4, "x": [float("nan"), float("inf"), 0.5, None]}
    write(path, pa.RecordBatch.from_pydict(columns), kind="excel", sheet="Answers")
    sheet = openpyxl.load_workbook(path)["Answers"]
    rows = [[cell.value for cell in row] for row in sheet.iter_rows(min_row=2)]
    assert [row[0] for row in rows] == values
    assert all(cell.data_type == "s" and cell.hyperlink is None for row in sheet["A2:A5"] for cell in row)
    assert rows[0][1:] == [str(2**60 + 1), "nan"]
    assert [row[2] for row in rows[1:]] == ["inf", 0.5, None]


def test_excel_refuses_more_rows_than_a_sheet_has(tmp_path, monkeypatch):
    assert excel_module.MAX_ROWS == 1_048_576
    monkeypatch.setattr(excel_module, "MAX_ROWS", 5)
    path = str(tmp_path / "out.xlsx")
    few = pa.RecordBatch.from_pydict({"a": [1, 2]})
    write(path, few, few)
    assert len(read(path)) == 4
    with pytest.raises(DataError, match=r"at most 4 rows(.|\n)*\.csv or \.parquet"):
        write(path, few, few, few.slice(1))
    assert len(read(path)) == 4


def test_excel_refuses_texts_longer_than_a_cell(tmp_path):
    path = str(tmp_path / "out.xlsx")
    with pytest.raises(DataError, match=r"row 2, column `t` has 32,768"):
        write(path, pa.RecordBatch.from_pydict({"t": ["x" * 32_767, "x" * 32_768]}))
    assert list(tmp_path.iterdir()) == []
