import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources.reading import table_of
from luban.data.sources.parquet import ParquetFiles
from luban.errors import DataError


def source(folder, path="."):
    return ParquetFiles(ParquetFiles.Config(path=path)).at(folder)


def test_files_of_a_folder_one_after_another(tmp_path):
    pq.write_table(pa.table({"a": [3], "t": ["z"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"t": ["x", "y"], "a": [1, 2]}), tmp_path / "a.parquet", row_group_size=1)
    read = table_of(source(tmp_path), batch_rows=1)
    assert read.to_pylist() == [{"t": "x", "a": 1}, {"t": "y", "a": 2}, {"t": "z", "a": 3}]


def test_strings_have_one_form_and_lists_stay(tmp_path):
    columns = {
        "d": pa.array(["x", None, "x"]).dictionary_encode(),
        "l": pa.array(["p", "q", None], pa.large_string()),
        "v": pa.array([[1], [2, 3], None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    read = table_of(source(tmp_path, "a.parquet"))
    assert read.schema.types[:2] == [pa.string(), pa.string()]
    assert read.to_pydict() == {"d": ["x", None, "x"], "l": ["p", "q", None], "v": [[1], [2, 3], None]}


def test_other_columns_or_types_are_refused_by_name(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [1], "c": [1]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"1\.parquet` has a column `b` and `.*2\.parquet` has none"):
        table_of(source(tmp_path))
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"column `b` is int64 in .*1\.parquet` and string in .*2\.parquet`"):
        table_of(source(tmp_path))


def test_files_that_cannot_be_read(tmp_path):
    pq.write_table(pa.table({"a": [1] * 1000}), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-10])
    with pytest.raises(DataError, match=r"a\.parquet` cannot be read as Parquet"):
        table_of(source(tmp_path))
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        table_of(source(tmp_path))
