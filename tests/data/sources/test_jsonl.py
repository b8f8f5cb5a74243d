import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import luban.data.sources.jsonl as module
from data.sources.reading import rejects_of, rows_of, table_of
from luban.data.sources.jsonl import JsonLines
from luban.errors import DataError


def source(folder, content, name="rows.jsonl"):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return JsonLines(JsonLines.Config(path=name)).at(folder)


def test_columns_are_typed_and_keys_may_come_late(tmp_path):
    lines = '{"n": 1, "t": "x", "b": true}\n\n{"n": 2.5, "late": 7, "t": null}\n'
    read = table_of(source(tmp_path, lines), batch_rows=1)
    assert read.schema == pa.schema([("n", pa.float64()), ("t", pa.string()), ("b", pa.bool_()), ("late", pa.int64())])
    assert read.to_pylist() == [
        {"n": 1.0, "t": "x", "b": True, "late": None},
        {"n": 2.5, "t": None, "b": None, "late": 7},
    ]


def test_mixed_and_nested_values_are_strings(tmp_path):
    lines = '{"m": 1, "o": {"a": [1, "é"]}}\n{"m": "x", "o": [2]}\n{"m": 2.0, "o": null}\n{"m": false}\n'
    read = rows_of(source(tmp_path, lines))
    assert [row["m"] for row in read] == ["1", "x", "2", "false"]
    assert [row["o"] for row in read] == ['{"a":[1,"é"]}', "[2]", None, None]


def test_long_numbers_keep_their_digits(tmp_path):
    lines = '{"id": 12345678901234567890123, "n": {"deep": 99999999999999999999999}}\n{"id": 7}\n'
    assert rows_of(source(tmp_path, lines)) == [
        {"id": "12345678901234567890123", "n": '{"deep":99999999999999999999999}'},
        {"id": "7", "n": None},
    ]


def test_nan_and_infinity_are_numbers(tmp_path):
    read = table_of(source(tmp_path, '{"x": NaN}\n{"x": -Infinity}\n{"x": 1}\n')).column("x").to_pylist()
    assert read[0] != read[0]
    assert read[1:] == [float("-inf"), 1.0]


def test_lines_that_are_no_objects_are_rejects_with_their_line(tmp_path):
    lines = '{"a": 1}\n{"a": \n\n[1, 2]\n"x"\n{"a": "\\ud800"}\n{"a": 2}\n'
    read = source(tmp_path, lines)
    assert [row["a"] for row in rows_of(read)] == [1, 2]
    found = rejects_of(read)
    assert [(each.where, each.raw, each.position) for each in found] == [
        ("rows.jsonl, line 2", '{"a":', 1),
        ("rows.jsonl, line 4", "[1, 2]", 2),
        ("rows.jsonl, line 5", '"x"', 3),
        ("rows.jsonl, line 6", '{"a": "\\ud800"}', 4),
    ]
    assert [each.reason.split(":")[0] for each in found] == [
        "is not JSON",
        "is not an object, but a list",
        "is not an object, but a string",
        "holds half of a character (a lone surrogate)",
    ]


ARRAY = '\n [ {"a": 1, "b": {"c": "]"}}, 5, {"a": -2.5e3, "z": "},{"} , {"a": 123456789} ] '


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1 << 20])
def test_an_array_of_objects(tmp_path, monkeypatch, chunk_bytes):
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
    array = source(tmp_path, ARRAY, "rows.json")
    assert [(row["a"], row["b"], row["z"]) for row in rows_of(array)] == [
        (1.0, '{"c":"]"}', None),
        (-2500.0, None, "},{"),
        (123456789.0, None, None),
    ]
    assert [(each.where, each.raw, each.position) for each in rejects_of(array)] == [("rows.json, item 2", "5", 1)]


@pytest.mark.parametrize("damaged", ['[{"a": 1}, {"a": ', '[{"a": 1} {"a": 2}]', '[{"a": 1}, ]', '[{"a": 1}'])
def test_a_damaged_array_says_after_which_item(tmp_path, damaged):
    with pytest.raises(DataError, match=r"is not a JSON array: after item 1:"):
        rows_of(source(tmp_path, damaged, "rows.json"))


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "[ 1 ]", '{\n "a": 1\n}\n'])
def test_files_without_rows(tmp_path, content):
    with pytest.raises(DataError, match="holds no rows"):
        rows_of(source(tmp_path, content))


def test_gb18030_and_garbage(tmp_path):
    text = '{"文": "这家酒店的房间很大，服务员也很热情"}\n'
    assert rows_of(source(tmp_path, text.encode("gb18030"))) == [{"文": "这家酒店的房间很大，服务员也很热情"}]
    with pytest.raises(DataError, match="wrong at byte 8"):
        rows_of(source(tmp_path, b'{"a": "x\xff"}\n'))


@pytest.mark.parametrize("batch_rows", [1, 3, 1000])
def test_the_size_of_batches_changes_nothing(tmp_path, batch_rows):
    lines = "".join(f'{{"a": {i}, "b{i % 3}": "x"}}\n' if i % 4 else f"bad {i}\n" for i in range(30))
    read = source(tmp_path, lines)
    assert table_of(read, batch_rows) == table_of(read)
    assert rejects_of(read, batch_rows) == rejects_of(read)


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5)
plain = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(keys, plain, min_size=1, max_size=4), min_size=1, max_size=6), ascii=st.booleans())
def test_any_objects_of_strings_come_back(tmp_path, rows, ascii):
    lines = "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows)
    array = json.dumps(rows, ensure_ascii=ascii, indent=2)
    names = list(dict.fromkeys(name for row in rows for name in row))
    expected = [{name: row.get(name) for name in names} for row in rows]
    assert rows_of(source(tmp_path, lines)) == expected
    assert rows_of(source(tmp_path, array, "rows.json")) == expected
