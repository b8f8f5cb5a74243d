import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import luban.data.sources.encoding as module
from luban.data.sources.encoding import encoding_of, open_utf8
from luban.data.sources.place import Place, find_one
from luban.errors import DataError

REVIEW = "这家酒店的房间很大，服务员也很热情，早餐丰富。\n"


def place_of(folder: Path, content: bytes) -> Place:
    path = folder / "text.txt"
    path.write_bytes(content)
    return find_one(str(path))


def text_of(place: Place, encoding: str) -> str:
    with open_utf8(place, encoding) as stream:
        return stream.read().decode("utf-8")


@pytest.fixture(params=[4, 1 << 20], ids=["chunks of 4 bytes", "chunks of 1 MB"])
def _chunks(request, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"plain ascii", "utf-8"),
        (REVIEW.encode(), "utf-8"),
        (codecs.BOM_UTF8 + REVIEW.encode(), "utf-8"),
        (REVIEW.encode("gb18030"), "gb18030"),
        ((REVIEW + "𠮷😀").encode("gb18030"), "gb18030"),
        (REVIEW.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + REVIEW.encode("utf-16-be"), "utf-16"),
        (b"a,b\n" * 5000 + REVIEW.encode("gb18030"), "gb18030"),
        ("臺灣飯店的早餐種類齊全,櫃檯人員親切".encode("gb18030"), "gb18030"),
    ],
)
def test_encodings_are_told_apart_and_read_as_utf8(tmp_path, content, encoding):
    place = place_of(tmp_path, content)
    assert encoding_of(place) == encoding
    python_name = "utf-8-sig" if encoding == "utf-8" else encoding
    assert text_of(place, encoding) == content.decode(python_name)


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("before", [0, 1, 7, 5000])
def test_garbage_is_refused_with_its_byte_offset(tmp_path, before):
    content = b"x" * before + b"\xff\xff\xff"
    with pytest.raises(DataError, match=rf"UTF-8 \(wrong at byte {before}\) nor GB18030 \(wrong at byte {before}\)"):
        encoding_of(place_of(tmp_path, content))


@pytest.mark.usefixtures("_chunks")
def test_damaged_utf8_is_not_taken_for_gb18030(tmp_path):
    good = (REVIEW * 20).encode()
    with pytest.raises(DataError, match=f"UTF-8 that is damaged at byte {len(good) + 3}"):
        encoding_of(place_of(tmp_path, good + b"abc\xb0\xa1" + good))


def test_western_text_is_not_taken_for_gb18030(tmp_path):
    with pytest.raises(DataError, match=r"wrong at byte 1\) and does not look like GB18030"):
        encoding_of(place_of(tmp_path, "détail première".encode("cp1252")))


def test_an_encoding_that_is_asked_for_is_checked_too(tmp_path):
    place = place_of(tmp_path, "résumé".encode("cp1252"))
    assert text_of(place, encoding_of(place, "cp1252")) == "résumé"
    with pytest.raises(DataError, match="is not utf-8: it cannot be read at byte 1"):
        encoding_of(place, "utf-8")


def test_a_character_cut_off_at_the_end(tmp_path):
    content = (REVIEW * 3).encode()
    with pytest.raises(DataError, match=f"damaged at byte {len(content) - 4}"):
        encoding_of(place_of(tmp_path, content[:-2]))


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    assert encoding_of(place_of(tmp_path, REVIEW.encode())) == "utf-8"
    assert encoding_of(place_of(tmp_path, (REVIEW * 2).encode("gb18030"))) == "gb18030"


chinese = st.text(
    st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5) | st.sampled_from("abc 12\n,。"), min_size=1
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=chinese)
def test_any_chinese_text_is_read_right_in_utf8(tmp_path, text):
    place = place_of(tmp_path, text.encode())
    assert text_of(place, encoding_of(place)) == text


gb2312 = st.builds(lambda a, b: bytes([a, b]).decode("gb2312"), st.integers(0xB0, 0xD6), st.integers(0xA1, 0xFE))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(gb2312, min_size=8, max_size=40).map("".join))
def test_any_text_of_common_characters_is_read_right_in_gb18030(tmp_path, text):
    content = text.encode("gb18030")
    # A handful of bytes can be both; then UTF-8 is meant.
    assume(not _is_utf8(content))
    place = place_of(tmp_path, content)
    try:
        encoding = encoding_of(place)
    except DataError:  # by chance most pairs are also UTF-8: refused, never read as wrong characters
        assume(False)
    assert text_of(place, encoding) == text


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
