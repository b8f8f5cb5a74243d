import datetime as dt

import openpyxl
import pyarrow as pa
import pytest

from data.sources.reading import rejects_of, rows_of, table_of
from luban.data.sources.excel import Excel
from luban.errors import DataError


def workbook(folder, sheets, name="book.xlsx"):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / name)
    return folder


def source(folder, name="book.xlsx", **settings):
    return Excel(Excel.Config(path=name, **settings)).at(folder)


def test_cells_have_types(tmp_path):
    rows = [
        ["n", "x", "day", "moment", "yes", "text", "mixed", "id"],
        [1, 1.5, dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5), True, "很好", 3, "007"],
        [2, 2, dt.date(2026, 1, 3), dt.date(2026, 1, 3), False, None, "三", "12"],
    ]
    read = table_of(source(workbook(tmp_path, {"One": rows})))
    kinds = [pa.int64(), pa.float64(), pa.date32(), pa.timestamp("us"), pa.bool_(), *[pa.string()] * 3]
    assert read.schema.types == kinds
    assert [tuple(row.values()) for row in read.to_pylist()] == [
        (1, 1.5, dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5), True, "很好", "3", "007"),
        (2, 2.0, dt.date(2026, 1, 3), dt.datetime(2026, 1, 3), False, None, "三", "12"),
    ]


def test_empty_rows_are_counted_and_columns_without_a_name(tmp_path):
    rows = [["a", None, None], [1, None, "x"], [None, None, None], [2, None, None]]
    read = source(workbook(tmp_path, {"One": rows}))
    assert rows_of(read) == [{"a": 1, "column_3": "x"}, {"a": 2, "column_3": None}]
    assert [(each.where, each.reason) for each in rejects_of(read)] == [("book.xlsx, sheet One", "1 empty row")]


def test_the_table_may_begin_lower(tmp_path):
    rows = [[None, None], ["Sales of May", None], ["a", "b"], [1, 2]]
    assert rows_of(source(workbook(tmp_path, {"One": rows}), skip_rows=2)) == [{"a": 1, "b": 2}]


def test_sheets_by_name_and_number(tmp_path):
    workbook(tmp_path, {"One": [["a"], [1]], "二": [["b"], [2]]})
    assert rows_of(source(tmp_path)) == [{"a": 1}]
    assert rows_of(source(tmp_path, sheet=2)) == rows_of(source(tmp_path, sheet="二")) == [{"b": 2}]
    with pytest.raises(DataError, match=r"got 'one'(.|\n)*mean `One`"):
        rows_of(source(tmp_path, sheet="one"))
    with pytest.raises(DataError, match="one of 2 sheets"):
        rows_of(source(tmp_path, sheet=3))


@pytest.mark.parametrize(("rows", "message"), [([], "is empty"), ([["a", "b"]], "holds no rows")])
def test_sheets_without_rows(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        rows_of(source(workbook(tmp_path, {"One": rows})))


def test_column_names_that_stand_twice(tmp_path):
    with pytest.raises(DataError, match="more than once: a"):
        rows_of(source(workbook(tmp_path, {"One": [["a", "a"], [1, 2]]})))


def test_a_file_that_is_no_workbook(tmp_path):
    (tmp_path / "book.xlsx").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as Excel"):
        rows_of(source(tmp_path))


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
def test_the_size_of_batches_changes_nothing(tmp_path, batch_rows):
    rows = [["a", "b"], *([i if i % 3 else None, f"t{i}" if i % 3 else None] for i in range(20))]
    read = source(workbook(tmp_path, {"One": rows}))
    assert table_of(read, batch_rows) == table_of(read)
    assert rejects_of(read, batch_rows) == rejects_of(read)
    assert len(table_of(read)) == 13
