import io
import sys
import uuid

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources.reading import rejects_of, rows_of, table_of
from luban.catalog import SOURCES
from luban.data.sources import open_path
from luban.data.sources.files import Files
from luban.errors import DataError


def source(folder, path, **settings):
    return Files(Files.Config.model_validate({"path": path, **settings})).at(folder)


def test_the_format_is_that_of_the_extension(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "a.TSV").write_text("x\ty\n1\t2\n")
    (tmp_path / "a.jsonl").write_text('{"x": "1", "y": "2"}\n')
    (tmp_path / "a.json").write_text('[{"x": "1", "y": "2"}]')
    pq.write_table(pa.table({"x": ["1"], "y": ["2"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.TSV", "a.jsonl", "a.json", "a.parquet"):
        assert rows_of(source(tmp_path, name)) == [{"x": "1", "y": "2"}], name


def test_files_are_read_sorted_and_rejects_know_their_place_in_all(tmp_path):
    (tmp_path / "part2.csv").write_text("y,x\n4,3\nbad\n")
    (tmp_path / "part1.csv").write_text("x,y\n1,2\nbad\n9,9\n")
    both = source(tmp_path, "*.csv")
    assert rows_of(both) == [{"x": "1", "y": "2"}, {"x": "9", "y": "9"}, {"x": "3", "y": "4"}]
    assert [(each.where, each.position) for each in rejects_of(both)] == [
        ("part1.csv, line 3", 1),
        ("part2.csv, line 3", 4),
    ]


def test_columns_must_agree(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv` has a column `y` and `.*b\.csv` has none"):
        rows_of(source(tmp_path, "."))


def test_formats_must_agree_and_be_known(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "b.jsonl").write_text('{"x": 1}\n')
    with pytest.raises(DataError, match=r"one format, but holds csv \(`a\.csv`\), jsonl \(`b\.jsonl`\)"):
        rows_of(source(tmp_path, "."))
    (tmp_path / "b.jsonl").rename(tmp_path / "b.dat")
    with pytest.raises(DataError, match=r"b\.dat` is of no format"):
        rows_of(source(tmp_path, "."))
    (tmp_path / "b.dat").write_text("x\n2\n")
    assert rows_of(source(tmp_path, ".", format="csv")) == [{"x": "1"}, {"x": "2"}]


def test_hidden_files_are_left_out(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / ".DS_Store").write_text("?")
    (tmp_path / "_SUCCESS").write_text("")
    assert rows_of(source(tmp_path, ".")) == [{"x": "1"}]


def test_settings_of_a_format(tmp_path):
    (tmp_path / "a.csv").write_text("one,two\n1;2\n")
    settings = {"csv": {"delimiter": ";", "header": True, "column_names": ["p", "q"]}}
    assert rows_of(source(tmp_path, "a.csv", **settings)) == [{"p": "1", "q": "2"}]


def test_a_folder_of_texts_is_a_class_a_sub_folder(tmp_path):
    for name in ("ham", "spam"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"I am {name}")
    assert rows_of(source(tmp_path, ".")) == [{"text": f"I am {n}", "label": n} for n in ("ham", "spam")]
    with pytest.raises(DataError, match="plain text, which has no columns"):
        rows_of(source(tmp_path, "ham/1.txt"))


def test_any_fsspec_url():
    folder = f"memory://{uuid.uuid4().hex}"
    with fsspec.open(f"{folder}/a.csv", "wb") as stream:
        stream.write(b"x\n1\n")
    with fsspec.open(f"{folder}/b.csv", "wb") as stream:
        stream.write(b"x\n2\n")
    assert rows_of(open_path(f"{folder}/*.csv")) == [{"x": "1"}, {"x": "2"}]
    assert rows_of(open_path(folder)) == [{"x": "1"}, {"x": "2"}]
    with pytest.raises(DataError, match=r"no file `memory://.*/c\.csv`"):
        rows_of(open_path(f"{folder}/c.csv"))
    with pytest.raises(DataError, match="no path that can be read"):
        rows_of(open_path("nosuch://x/y.csv"))


def test_the_fingerprint_is_that_of_the_format_alone(tmp_path):
    (tmp_path / "a.csv").write_text("x\n1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.csv").write_text("x\n1\n")
    prints = {source(tmp_path, "a.csv").fingerprint(), source(tmp_path, "sub").fingerprint()}
    assert prints == {SOURCES.make("csv", {"path": str(tmp_path / "a.csv")}).fingerprint()}
    assert source(tmp_path, "a.csv").pins().keys() == {"a.csv"}


@pytest.mark.parametrize(
    ("content", "row"),
    [(b"x,y\n1,2\n", {"x": "1", "y": "2"}), (b'\n {"x": 1, "y": 2}\n', {"x": 1, "y": 2}), (b'[{"x": 1}]', {"x": 1})],
)
def test_standard_input_is_told_apart_and_can_be_read_twice(monkeypatch, content, row):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    piped = open_path("-")
    assert rows_of(piped) == [row]
    assert table_of(piped) == table_of(piped)


@pytest.mark.parametrize("path", ["none.csv", "no/such.csv", "*.csv", "."])
def test_nothing_there(tmp_path, path):
    with pytest.raises(DataError):
        rows_of(source(tmp_path, path))
