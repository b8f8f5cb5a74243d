"""Folders of pictures, and tables of paths: what is a row, what is set aside, and what may not be read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from luban.data.sources import open_path
from luban.data.sources.files import Files
from luban.data.sources.parquet import ParquetFiles
from luban.data.sources.pictures import Pictures
from luban.errors import DataError

from .reading import rejects_of, rows_of

PNG, JPEG = b"\x89PNG one", b"\xff\xd8\xff two"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in {
        "good/a.png": PNG,
        "good/deep/b.JPG": JPEG,
        "bad/a.png": b"\x89PNG three",
        "bad/.hidden.png": b"x",
    }.items():
        path = tmp_path / "parts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def of_folder(base: Path, **settings: object) -> Pictures:
    return Pictures(Pictures.Config.model_validate({"folder": "parts", **settings})).at(base)


def of_table(base: Path, text: str, name: str = "parts.csv", column: str = "file") -> Pictures:
    (base / name).write_text(text, "utf-8")
    return Pictures(Pictures.Config(table=name, column=column)).at(base)


def test_sub_folders_are_classes(folder: Path) -> None:
    rows = [{"image": b"\x89PNG three", "label": "bad"}, {"image": PNG, "label": "good"}]
    rows.append({"image": JPEG, "label": "good"})
    assert rows_of(of_folder(folder)) == rows
    assert rows_of(open_path(str(folder / "parts"))) == rows, "a path alone is enough"
    assert rows_of(of_folder(folder), batch_rows=1) == rows
    named = of_folder(folder, image_column="photo", label_column="state")
    assert list(rows_of(named)[0]) == ["photo", "state"]


def test_pictures_alone_have_no_class(folder: Path) -> None:
    (folder / "loose").mkdir()
    (folder / "loose" / "x.gif").write_bytes(b"GIF89a")
    assert rows_of(open_path(str(folder / "loose"))) == [{"image": b"GIF89a", "file": "x.gif"}]
    (folder / "parts" / "loose.png").write_bytes(PNG)
    with pytest.raises(DataError, match="both in sub-folders and beside them"):
        rows_of(of_folder(folder))


def test_what_is_no_picture_is_set_aside(folder: Path) -> None:
    (folder / "parts/good/Thumbs.db").write_bytes(b"?")
    (folder / "parts/good/empty.png").write_bytes(b"")
    (folder / "parts/good/huge.png").write_bytes(bytes(2000))
    source = of_folder(folder, max_file_bytes=1999)
    assert len(rows_of(source)) == 3
    assert [(one.raw, one.reason, one.position) for one in rejects_of(source)] == [
        ("good/Thumbs.db", "is no picture by its ending", 1),
        ("good/empty.png", "is empty", 4),
        ("good/huge.png", "is larger than the 1,999 bytes of `max_file_bytes`", 5),
    ]
    forced = Files(Files.Config.model_validate({"path": "parts", "format": "pictures"})).at(folder)
    assert len(rows_of(forced)) == 4
    with pytest.raises(DataError, match="no format that can be told"):
        rows_of(open_path(str(folder / "parts")))


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no picture"):
        rows_of(of_folder(tmp_path))
    with pytest.raises(DataError, match="is a file"):
        rows_of(of_folder(tmp_path, folder="parts/notes.txt"))
    with pytest.raises(DataError, match="There is no file"):
        rows_of(of_folder(tmp_path, folder="part"))


def test_the_fingerprint_is_of_names_and_content(folder: Path) -> None:
    before = of_folder(folder).fingerprint()
    assert of_folder(folder).fingerprint() == before == open_path(str(folder / "parts")).fingerprint()
    assert of_folder(folder).pins() == {"parts": before}
    (folder / "parts/good/a.png").rename(folder / "parts/bad/z.png")
    assert of_folder(folder).fingerprint() != before, "another class"


def test_a_table_of_paths(folder: Path) -> None:
    source = of_table(folder, "file,state,size\nparts/good/a.png,ok,3\n parts/good/deep/b.JPG ,scratched,4\n")
    assert rows_of(source) == [
        {"file": PNG, "state": "ok", "size": "3"},
        {"file": JPEG, "state": "scratched", "size": "4"},
    ]
    before = source.fingerprint()
    (folder / "parts/good/a.png").write_bytes(PNG + b"!")
    assert source.fingerprint() != before, "a picture was changed, and the table was not"
    with pytest.raises(DataError, match="no column `path`"):
        rows_of(of_table(folder, "file\nx\n", column="path"))


def test_json_lines_of_paths(folder: Path) -> None:
    source = of_table(folder, '{"file": "parts/good/a.png", "n": 1}\nnot json\n', "parts.jsonl")
    assert rows_of(source) == [{"file": PNG, "n": 1}]
    assert len(rejects_of(source)) == 1


def test_a_path_must_not_lead_out_of_the_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    secret.write_bytes(b"\x89PNG secret")
    (folder / "parts" / "link.png").symlink_to(secret)
    (folder / "parts" / "way").symlink_to(secret.parent)
    paths = [
        "../x.png",
        str(secret),
        "parts/../../x.png",
        "file:///etc/passwd",
        "parts/link.png",
        "parts/way/secret.png",
    ]
    paths += ["C:\\x.png", "..\\x.png", "parts/none.png", "", "parts/good"]
    source = of_table(
        folder, "n,file\n" + "".join(f"{n},{path}\n" for n, path in enumerate(paths)) + "9,parts/bad/a.png\n"
    )
    assert rows_of(source) == [{"n": "9", "file": b"\x89PNG three"}]
    reasons = [one.reason for one in rejects_of(source)]
    assert all("leads out of the folder" in reason for reason in reasons[:8]), reasons
    assert reasons[8:] == ["there is no file parts/none.png", "has no path", "there is no file parts/good"]
    assert source.fingerprint() == source.fingerprint()


@pytest.mark.parametrize(
    "settings",
    [{}, {"folder": "a", "table": "b", "column": "c"}, {"table": "b"}, {"column": "c"}, {"folder": "a", "column": "c"}],
)
def test_settings(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="either `folder` must be given"):
        Pictures.Config.model_validate(settings)
    with pytest.raises(ValidationError, match="must differ"):
        Pictures.Config.model_validate({"folder": "a", "image_column": "x", "label_column": "x"})


def test_batches_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luban.data.sources.parquet.MAX_BATCH_BYTES", 100_000)
    monkeypatch.setattr("luban.data.sources.pictures.MAX_BATCH_BYTES", 100_000)
    large = bytes(10_000)
    table = pa.table({"image": pa.array([large] * 50, pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet", compression=None, use_dictionary=False)
    source = ParquetFiles(ParquetFiles.Config(path=str(tmp_path / "a.parquet")))
    assert max(batch.rows.num_rows for batch in source.read()) <= 10
    (tmp_path / "many").mkdir()
    names = [f"many/{number:02}.png" for number in range(40)]
    for name in names:
        (tmp_path / name).write_bytes(large)
    for pictures in (open_path(str(tmp_path / "many")), of_table(tmp_path, "\n".join(["file", *names]))):
        batches = [batch.rows.num_rows for batch in pictures.read()]
        assert sum(batches) == 40
        assert max(batches) <= 10
