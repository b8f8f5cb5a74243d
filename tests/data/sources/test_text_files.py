import pyarrow as pa
import pytest
from pydantic import ValidationError

from data.sources.reading import rejects_of, rows_of, table_of
from luban.data.sources.text_files import TextFiles
from luban.errors import DataError


def source(base, **settings):
    return TextFiles(TextFiles.Config.model_validate(settings)).at(base)


@pytest.fixture
def reviews(tmp_path):
    (tmp_path / "pos.txt").write_bytes("很好\r\n\n  \nfine\u2028still one line\n".encode())
    (tmp_path / "neg.txt").write_bytes("差\n太差了".encode("gb18030"))
    return tmp_path


FILES = {"positive": "pos.txt", "negative": "neg.txt"}


def test_each_line_is_a_row_of_its_class(reviews):
    read = table_of(source(reviews, files=FILES))
    assert read.schema == pa.schema([("text", pa.string()), ("label", pa.string())])
    assert read.column("text").to_pylist() == ["很好", "fine\u2028still one line", "差", "太差了"]
    assert read.column("label").to_pylist() == ["positive", "positive", "negative", "negative"]


def test_blank_lines_are_no_rows_and_are_counted(reviews):
    assert [(each.where, each.reason) for each in rejects_of(source(reviews, files=FILES))] == [
        ("pos.txt", "2 blank lines")
    ]


def test_columns_have_the_names_asked_for(reviews):
    assert rows_of(source(reviews, files=FILES, text_column="评论", label_column="标签"))[0] == {
        "评论": "很好",
        "标签": "positive",
    }


def test_a_file_can_be_a_row(reviews):
    read = rows_of(source(reviews, files={"a": "*.txt"}, unit="file"))
    assert read == [
        {"text": "差\n太差了", "label": "a"},
        {"text": "很好\r\n\n  \nfine\u2028still one line\n", "label": "a"},
    ]


def test_classes_may_be_numbers(reviews):
    assert [row["label"] for row in rows_of(source(reviews, files={1: "pos.txt", 0: "neg.txt"}))] == [
        "1",
        "1",
        "0",
        "0",
    ]


def test_a_folder_of_classes(tmp_path):
    for name, text in {"ham/1.txt": "hello", "ham/deep/2.txt": "you", "spam/1.txt": "buy", "spam/2.txt": " "}.items():
        (tmp_path / "mail" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mail" / name).write_text(text)
    folder = source(tmp_path, folder="mail")
    assert [tuple(row.values()) for row in rows_of(folder)] == [("hello", "ham"), ("you", "ham"), ("buy", "spam")]
    assert [(each.where, each.reason) for each in rejects_of(folder)] == [("2.txt", "is empty")]
    (tmp_path / "mail" / "loose.txt").write_text("x")
    with pytest.raises(DataError, match=r"only folders named like classes, but it also holds loose\.txt"):
        rows_of(folder)


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_the_size_of_batches_changes_nothing(reviews, batch_rows):
    texts = source(reviews, files=FILES)
    assert table_of(texts, batch_rows) == table_of(texts)
    assert rejects_of(texts, batch_rows) == rejects_of(texts)


def test_a_million_characters(tmp_path):
    (tmp_path / "a.txt").write_text("很" * 1_000_000 + "\nb\n", "utf-8")
    assert [len(row["text"]) for row in rows_of(source(tmp_path, files={"a": "a.txt"}))] == [1_000_000, 1]


def test_the_fingerprint_is_of_classes_and_content(reviews, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for name in FILES.values():
        (other / f"my-{name}").write_bytes((reviews / name).read_bytes())
    same = source(other, files={label: f"my-{name}" for label, name in FILES.items()})
    assert source(reviews, files=FILES).fingerprint() == same.fingerprint()
    assert source(reviews, files={"negative": "pos.txt", "positive": "neg.txt"}).fingerprint() != same.fingerprint()


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_class_without_texts_is_refused(reviews, content):
    (reviews / "neg.txt").write_text(content)
    with pytest.raises(DataError, match=r"neg\.txt` holds no text"):
        rows_of(source(reviews, files=FILES))


def test_a_missing_file_is_named(reviews):
    with pytest.raises(DataError, match=r"no file .*negg\.txt`(.|\n)*mean `neg\.txt`"):
        rows_of(source(reviews, files={"negative": "negg.txt"}))


@pytest.mark.parametrize(
    "settings",
    [{}, {"files": {"a": "b"}, "folder": "c"}, {"files": {}}, {"folder": "c", "text_column": "label"}, {"file": "x"}],
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValidationError):
        TextFiles.Config.model_validate(settings)
