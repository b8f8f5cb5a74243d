import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import luban.data.sources.csv as csv_module
from data.sources.reading import rejects_of, rows_of, table_of
from luban.data.sinks import open_sink
from luban.data.sources.csv import Csv, find_delimiter
from luban.errors import DataError


def source(path: Path, **settings: object) -> Csv:
    return Csv(Csv.Config.model_validate({"path": str(path), **settings}))


def written(folder: Path, content: bytes | str, name: str = "rows.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def test_all_columns_are_strings_and_an_empty_field_is_not_a_quoted_one(tmp_path):
    read = table_of(source(written(tmp_path, 'a,b,c\n1,,""\n"1,200 元", x ,3.50\n')))
    assert read.schema.types == [pa.string()] * 3
    assert read.to_pylist() == [{"a": "1", "b": None, "c": ""}, {"a": "1,200 元", "b": " x ", "c": "3.50"}]


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\r\n1,2\r\n3,4\r\n", [("1", "2"), ("3", "4")]),
        ("a,b\n1,2\n3,4", [("1", "2"), ("3", "4")]),
        ('a,b\n"x\ny","p\r\nq"\n3,4\n', [("x\ny", "p\r\nq"), ("3", "4")]),
        ("a,b\nx\x00y,2\n", [("x\x00y", "2")]),
        ("a,b\n👩‍🏭😀,𠮷\n", [("👩‍🏭😀", "𠮷")]),
        ('a,b\n"say ""hi""",5" disk\n', [('say "hi"', '5" disk')]),
        ("a,b\n1,2\n\n\n3,4\n\n", [("1", "2"), ("3", "4")]),
        ("\ufeffa,b\n1,2\n", [("1", "2")]),
    ],
    ids=["crlf", "no last newline", "quoted line breaks", "nul", "emoji", "quotes", "empty lines", "byte order mark"],
)
def test_what_stands_in_files(tmp_path, content, rows):
    assert [tuple(row.values()) for row in rows_of(source(written(tmp_path, content)))] == rows
    assert not rejects_of(source(written(tmp_path, content)))


def test_in_a_file_of_one_column_an_empty_line_is_a_missing_value(tmp_path):
    assert rows_of(source(written(tmp_path, "a\n1\n\n2\n"))) == [{"a": "1"}, {"a": None}, {"a": "2"}]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    text = f"name{delimiter}price\n" + "".join(f'"a,b;c|d\te"{delimiter}1\n' for _ in range(5))
    assert rows_of(source(written(tmp_path, text)))[0] == {"name": "a,b;c|d\te", "price": "1"}


def test_a_delimiter_is_not_found_in_the_texts_of_a_single_column():
    assert find_delimiter("text\nhello, world; and | more\nwell, yes\n") == ","


def test_tsv_is_tabs_and_gz_is_unpacked(tmp_path):
    assert rows_of(source(written(tmp_path, "a,b\tc\n1,2\t3\n", "rows.tsv"))) == [{"a,b": "1,2", "c": "3"}]
    packed = written(tmp_path, gzip.compress(b"a,b\n1,2\n"), "rows.csv.gz")
    assert rows_of(source(packed)) == [{"a": "1", "b": "2"}]


def test_a_damaged_gz_is_refused(tmp_path):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)
    with pytest.raises(DataError, match=r"rows\.csv\.gz` cannot be read"):
        rows_of(source(written(tmp_path, packed[:-20], "rows.csv.gz")))


def test_ragged_rows_are_rejects_with_their_line_and_stop_nobody(tmp_path):
    text = 'a,b\n1,2\n"x\ny",3\n\nonly one\n4,5\n6,7,8\n9,10\n'
    ragged = source(written(tmp_path, text))
    assert [tuple(row.values()) for row in rows_of(ragged)] == [("1", "2"), ("x\ny", "3"), ("4", "5"), ("9", "10")]
    found = [(each.where, each.raw, each.reason, each.position) for each in rejects_of(ragged)]
    assert found == [
        ("rows.csv, line 6", "only one", "has 1 fields where 2 are expected", 2),
        ("rows.csv, line 8", "6,7,8", "has 3 fields where 2 are expected", 4),
    ]


@pytest.mark.parametrize(
    ("settings", "position"),
    [({}, 1), ({"skip_rows": 1}, 0), ({"column_names": ["x", "y"]}, 1), ({"header": False}, 2)],
)
def test_the_place_of_a_reject_counts_rows_and_rejects_from_0(tmp_path, settings, position):
    ragged = source(written(tmp_path, "a,b\n1,2\nbad\n3,4\n"), **settings)
    assert [each.position for each in rejects_of(ragged)] == [position]


def test_ragged_rows_with_gb18030_keep_their_text(tmp_path):
    ragged = source(written(tmp_path, "甲,乙\n一,二\n三\n四,五\n".encode("gb18030")))
    assert rows_of(ragged) == [{"甲": "一", "乙": "二"}, {"甲": "四", "乙": "五"}]
    assert [(each.where, each.raw) for each in rejects_of(ragged)] == [("rows.csv, line 3", "三")]


def test_header_settings(tmp_path):
    path = written(tmp_path, "569,30,malignant\n1,2,0\n3,4,1\n")
    named = source(path, column_names=["p", "q", "r"])
    assert rows_of(named) == [{"p": "1", "q": "2", "r": "0"}, {"p": "3", "q": "4", "r": "1"}]
    assert rows_of(source(path, column_names=["p", "q", "r"], header=False, skip_rows=1)) == rows_of(named)
    assert rows_of(source(path, header=False))[0] == {"column_1": "569", "column_2": "30", "column_3": "malignant"}


def test_a_header_may_be_longer_or_shorter_than_the_names_that_replace_it(tmp_path):
    path = written(tmp_path, "569,30,malignant,benign\n1,2,0\n3,4,1\n")
    assert [row["r"] for row in rows_of(source(path, column_names=["p", "q", "r"]))] == ["0", "1"]


def test_a_column_without_a_name_gets_one(tmp_path):
    assert rows_of(source(written(tmp_path, ",b\n0,x\n"))) == [{"column_1": "0", "b": "x"}]


def test_a_million_characters_in_a_field(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 1 << 16)
    long = "很" * 1_000_000
    path = written(tmp_path, f"a,b\n1,2\nbad\n{long},3\n4,5,6\n7,8\n")
    assert rows_of(source(path)) == [{"a": "1", "b": "2"}, {"a": long, "b": "3"}, {"a": "7", "b": "8"}]
    assert [each.where for each in rejects_of(source(path))] == ["rows.csv, line 3", "rows.csv, line 5"]


def test_a_quote_that_is_never_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr(csv_module, "MAX_BLOCK_BYTES", 1 << 13)
    with pytest.raises(DataError, match="never closed"):
        rows_of(source(written(tmp_path, 'a,b\n1,2\n"x,3\n' + "4,5\n" * 10_000)))


def test_blocks_do_not_change_what_is_read(tmp_path, monkeypatch):
    text = "a,b\n" + "".join(f'{i},"line\n{i}"\n' if i % 7 else f"{i}\n" for i in range(500))
    path = written(tmp_path, text)
    whole = (rows_of(source(path)), rejects_of(source(path)))
    monkeypatch.setattr(csv_module, "BLOCK_BYTES", 64)
    assert (rows_of(source(path)), rejects_of(source(path))) == whole
    assert len(whole[1]) == 72


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_the_size_of_batches_changes_nothing(tmp_path, batch_rows):
    path = written(tmp_path, "a,b\n" + "".join(f"{i},{i}\n" if i % 5 else f"{i}\n" for i in range(40)))
    assert table_of(source(path), batch_rows) == table_of(source(path))
    assert rejects_of(source(path), batch_rows) == rejects_of(source(path))


def test_reading_twice_gives_the_same(tmp_path):
    twice = source(written(tmp_path, "a,b\n1,2\n3\n"))
    assert table_of(twice) == table_of(twice)
    assert rejects_of(twice) == rejects_of(twice)
    assert list(twice.read()) == list(twice.read())


def test_column_names_that_stand_twice(tmp_path):
    with pytest.raises(DataError, match="more than once: a, c"):
        rows_of(source(written(tmp_path, "a,b,a,c,c\n1,2,3,4,5\n")))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "is empty"), ("\n\n", "is empty"), ("a,b\n", "no rows"), ("a,b", "no rows"), ("a,b\n1\n2\n", "line 2 has 1")],
)
def test_files_without_rows(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        rows_of(source(written(tmp_path, content)))


def test_a_missing_file_names_the_place_and_the_nearest(tmp_path):
    written(tmp_path, "a\n1\n", "reviews.csv")
    with pytest.raises(DataError) as caught:
        rows_of(Csv(Csv.Config(path="review.csv")).at(tmp_path))
    assert str(tmp_path / "review.csv") in caught.value.message
    assert "`reviews.csv`" in caught.value.hint


def test_paths_are_relative_to_the_folder_given(tmp_path):
    written(tmp_path, "a\n1\n")
    unplaced = Csv(Csv.Config(path="rows.csv"))
    placed = unplaced.at(tmp_path)
    assert rows_of(placed) == [{"a": "1"}]
    assert unplaced.base is None


def test_the_fingerprint_is_of_the_content(tmp_path):
    one = source(written(tmp_path, "a\n1\n"))
    other = source(written(tmp_path, "a\n1\n", "other.csv"))
    changed = source(written(tmp_path, "a\n2\n", "changed.csv"))
    assert one.fingerprint() == other.fingerprint() != changed.fingerprint()
    assert len(one.fingerprint()) == 64


def test_a_file_that_changes_has_another_fingerprint(tmp_path):
    path = written(tmp_path, "a\n1\n")
    before = source(path).fingerprint()
    written(tmp_path, "a\n12\n")
    assert source(path).fingerprint() != before


names = st.lists(st.text(min_size=1, max_size=6).filter(lambda s: s.isprintable()), min_size=1, max_size=4, unique=True)
values = st.one_of(
    st.none(), st.text(max_size=8), st.sampled_from(["", '"', ",", "\n", "\r\n", " ", "\ufeff", "a\x00b"])
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), columns=names)
def test_any_table_of_strings_comes_back_from_csv(tmp_path, data, columns):
    rows = data.draw(st.lists(st.tuples(*[values for _ in columns]), min_size=1, max_size=6))
    schema = pa.schema([(name, pa.string()) for name in columns])
    batch = pa.RecordBatch.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema)
    path = str(tmp_path / "table.csv")
    sink = open_sink(path)
    with sink:
        sink.open(path, schema)
        sink.write(batch)
    read = table_of(source(Path(path)))
    assert read.schema.names == columns
    assert read.to_pylist() == batch.to_pylist()
