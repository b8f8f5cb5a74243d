"""Pictures: what is read and what is refused, how a model sees them, and that hostile bytes do no harm."""

from __future__ import annotations

import base64
import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.binary import data_uri, from_text, media_type
from luban.errors import BadValue
from luban.features.image import GRID, Image
from luban.features.image_vector import ImageVector, Look, edges, figures
from luban.features.kinds import IndexConfig, VectorConfig, Want
from luban.features.picture import decoded, thumbnail

rng = np.random.default_rng(0)
PHOTO = rng.integers(0, 256, (40, 60, 3)).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **settings: object) -> bytes:
    """A picture file."""
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, kind, **settings)
    return out.getvalue()


PNG = encoded(PHOTO)


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header says that it is large; there are hardly any pixels behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_formats_come_as_bytes_base64_and_data_uri(kind: str) -> None:
    data = encoded(PHOTO, kind)
    written = base64.b64encode(data).decode()
    folded = "\n".join(written[i : i + 76] for i in range(0, len(written), 76))
    for raw in (data, bytearray(data), memoryview(data), written, folded, f" {written} ", data_uri(data)):
        assert Image().parse_value(raw) == data
    assert media_type(data) == f"image/{kind.lower()}"
    assert decoded(data, 10_000).size == (60, 40)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("hello there", "is neither base64 nor a data URI of a picture"),
        ("part 7/Front.JPG", "is a path, not a picture"),
        ("data:image/png,plain", "is neither base64"),
        (base64.b64encode(b"%PDF-1.7 ...").decode(), "is no PNG, JPEG, WebP, BMP or GIF"),
        (b"II*\x00 a TIFF", "is no PNG, JPEG, WebP, BMP or GIF"),
        (PNG[:-200], "is damaged or cut short"),
        (encoded(PHOTO, "JPEG")[:-300], "is damaged or cut short"),
        (PNG[:20], "is damaged or cut short"),
        (12.5, "is a float, not a picture"),
        ({"file": "x"}, "is a dict, not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(raw: object, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        Image().parse_value(raw)


@pytest.mark.parametrize("raw", [None, float("nan"), "", "  ", b""])
def test_missing(raw: object) -> None:
    assert Image().parse_value(raw) is None


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (12_000, 9_000), (2**31 - 1, 2), (60_000, 2_000)])
def test_a_picture_with_too_many_pixels_is_refused_before_it_is_unpacked(width: int, height: int) -> None:
    for strict in ("error", "ignore"):  # Pillow warns of large pictures by itself
        with warnings.catch_warnings():
            warnings.simplefilter(strict)  # type: ignore[arg-type]
            with pytest.raises(BadValue, match="pixels"):
                Image().parse_value(bomb(width, height))
    assert "12,000 × 9,000 pixels, more than the 50,000,000" in _reason(Image(), bomb(12_000, 9_000))
    assert "more than the 2,399" in _reason(Image(Image.Config(max_pixels=2_399)), PNG)
    assert Image(Image.Config(max_pixels=2_400)).parse_value(PNG) == PNG


def _reason(feature: Image, raw: object) -> str:
    with pytest.raises(BadValue) as caught:
        feature.parse_value(raw)
    return caught.value.message


def test_a_picture_that_claims_more_than_it_holds_is_cut_short() -> None:
    assert "cut short" in _reason(Image(), bomb(500, 500))


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(encoded(PHOTO, data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "GIF"]))))
    del whole[data.draw(st.integers(0, len(whole))) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    feature = Image()
    try:
        value = feature.parse_value(bytes(whole))
    except BadValue:
        return
    assert value is None or value == bytes(whole)
    if value is not None:
        encoder = feature.fit([PNG], Want("vector", VectorConfig()), 0)
        assert np.isfinite(encoder.encode([value]).parts["value"]).all()


@given(st.binary(max_size=200))
def test_any_bytes_go_through_text_and_back(data: bytes) -> None:
    assert from_text(data_uri(data)) == data
    assert from_text(base64.b64encode(data).decode()) == data


@given(st.text(max_size=60))
@settings(deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadValue):
        Image().parse_value(text)


def test_a_camera_held_otherwise_gives_the_same_picture() -> None:
    upright = np.zeros((20, 40, 3), np.uint8)
    upright[:5, :10] = (255, 0, 0)
    turns = {1: upright, 3: upright[::-1, ::-1], 6: np.rot90(upright), 8: np.rot90(upright, -1), 2: upright[:, ::-1]}
    for orientation, stored in turns.items():
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        found = np.asarray(decoded(encoded(np.ascontiguousarray(stored), exif=exif), 10_000))
        assert np.array_equal(found, upright), orientation


def test_modes_become_rgb() -> None:
    clear = np.zeros((8, 8, 4), np.uint8)
    assert (np.asarray(decoded(encoded(clear), 100)) == 255).all(), "what is transparent stands on white"
    deep = (np.arange(64).reshape(8, 8) * 1000).astype(np.uint16)
    assert np.array_equal(np.asarray(decoded(encoded(deep), 100))[:, :, 0], deep >> 8)
    grey = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    assert np.array_equal(np.asarray(decoded(encoded(grey), 100))[:, :, 1], grey)


def test_the_first_frame_counts() -> None:
    out = io.BytesIO()
    frames = [PIL.Image.fromarray(np.full((8, 8), shade, np.uint8)) for shade in (10, 200)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decoded(out.getvalue(), 100)).max() == 10


def test_the_vector_is_the_same_to_the_bit_wherever_it_is_made() -> None:
    # integers and correctly rounded operations alone: these figures hold on every machine
    found = figures(PNG, Look())
    assert found.shape == (Look().num_pixels + Look().num_edges,)
    assert hash_of(found) == "00849871f172"
    assert found.min() >= 0
    assert found.max() <= 1


def hash_of(array: np.ndarray) -> str:
    import hashlib

    return hashlib.sha256(array.tobytes()).hexdigest()[:12]


def test_edges_tell_directions_apart_and_not_brightness() -> None:
    stripes = np.tile(np.arange(32) % 8 < 4, (32, 1)) * 200
    down, across = edges(stripes.astype(np.int32)), edges(stripes.T.astype(np.int32))
    brighter = edges((stripes // 2 + 100).astype(np.int32))
    assert np.abs(down - across).max() > 0.3
    assert np.abs(down - brighter).max() < 0.01
    assert edges(np.full((32, 32), 77)).max() == 0


@pytest.mark.parametrize(("scale", "missing"), [("standard", "mean"), ("none", "nan"), ("standard", "nan")])
def test_encoders(scale: str, missing: str) -> None:
    config = VectorConfig.model_validate({"scale": scale, "missing": missing})
    values = [encoded(np.roll(PHOTO, shift, axis=1)) for shift in range(8)]
    encoder = Image(Image.Config(channels=1, height=24)).fit(values, Want("vector", config), 0)
    arrays = encoder.encode([*values, None]).parts
    assert arrays["value"].shape == (9, 12 * 16 + 2 * 3 * 36 + (missing == "mean"))
    if missing == "nan":
        assert np.isnan(arrays["value"][-1]).all()
    else:
        assert arrays["value"][:, -1].tolist() == [0] * 8 + [1]
    if scale == "standard":
        known = arrays["value"][:8, : 12 * 16].astype(np.float64)
        assert abs(known.mean(axis=0)).max() < 1e-5
        assert known.var(axis=0).sum() == pytest.approx(10, rel=1e-4), "pixels together weigh as ten numbers"
    again = ImageVector.restore(encoder.state())
    assert again.state_fingerprint == encoder.state_fingerprint
    assert np.array_equal(again.encode(values).parts["value"], arrays["value"][:8])


def test_a_column_of_nothing_can_be_fitted() -> None:
    encoder = Image().fit([None, None], Want("vector", VectorConfig()), 0)
    assert np.isfinite(encoder.encode([None, PNG]).parts["value"]).all()


def test_wants() -> None:
    feature = Image()
    assert "by ranks" in (feature.supports(Want("vector", VectorConfig(scale="quantile"))) or "")
    assert "not index" in (feature.supports(Want("index", IndexConfig())) or "")


def test_patches_are_taken_away_from_what_the_model_sees() -> None:
    feature = Image()
    parts = feature.parts(PNG)
    assert len(parts.names) == GRID * GRID
    assert parts.names[5] == "row 2, column 2"
    left = parts.without([5])
    assert feature.parse_value(left) == left
    before, after = feature.look.see(PNG), feature.look.see(left)
    assert (before[8:16, 8:16] != after[8:16, 8:16]).any()
    after = after.copy()
    after[8:16, 8:16] = before[8:16, 8:16]
    assert np.array_equal(before, after), "all else is as the model saw it before"
    assert feature.parts(None).names == ()


def test_signals() -> None:
    dark, light = encoded(np.full((10, 30, 3), 0, np.uint8)), encoded(np.full((30, 10, 3), 255, np.uint8))
    found = Image().signals([dark, None, light])
    assert found["width"][[0, 2]].tolist() == [30, 10]
    assert found["height"][[0, 2]].tolist() == [10, 30]
    assert found["bytes"][0] == len(dark)
    assert found["brightness"][[0, 2]].tolist() == [0, 1]
    assert found["contrast"][[0, 2]].tolist() == [0, 0]
    assert all(np.isnan(figure[1]) for figure in found.values())


def test_inference() -> None:
    grey = data_uri(encoded(PHOTO[:, :, 0]))
    guess = Image().infer([grey] * 9 + ["oops"])
    assert guess is not None
    assert guess.score > 0.85
    assert guess.settings == {"channels": 1}
    guess = Image().infer([data_uri(PNG), base64.b64encode(PNG).decode()])
    assert guess is not None
    assert guess.settings == {}
    assert Image().infer(["QUJD", "aGVsbG8="]) is None
    assert Image().infer([]) is None


def test_columns_of_any_arrow_type_of_bytes() -> None:
    for kind in (pa.binary(), pa.large_binary()):
        parsed = Image().parse(pa.array([PNG, None, b"no", PNG], kind))
        assert parsed.values.type == Image.storage
        assert parsed.values.to_pylist() == [PNG, None, None, PNG]
        assert parsed.bad == {2: "is no PNG, JPEG, WebP, BMP or GIF"}
        assert not len(parsed.changed)


def test_small_pictures_for_people() -> None:
    large = encoded(rng.integers(0, 256, (300, 500, 3)).astype(np.uint8), "JPEG")
    small = Image().picture(large)
    assert small is not None
    assert PIL.Image.open(io.BytesIO(small)).size == (96, 58)
    assert PIL.Image.open(io.BytesIO(thumbnail(PNG, 96, 10_000))).size == (60, 40)
    assert Image().picture(None) is None


def test_how_much_it_unfolds_to() -> None:
    assert Image().unfolds(PNG) == Image().unfolds(data_uri(PNG)) == 2_400
    assert Image().unfolds(bomb(6_000, 5_000)) == 30_000_000
    assert Image().unfolds("hello") == Image().unfolds(None) == Image().unfolds(3) == 0


def test_a_large_jpeg_is_seen_as_well_without_being_unpacked_whole() -> None:
    smooth = np.asarray(PIL.Image.fromarray(PHOTO[::8, ::8]).resize((1600, 1200), PIL.Image.Resampling.BICUBIC))
    data = encoded(smooth, "JPEG", quality=95)
    assert Look().open(data).size == (200, 150)
    assert decoded(data, 10_000_000).size == (1600, 1200)
    whole = np.asarray(decoded(data, 10_000_000).resize((32, 32), PIL.Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(Look().see(data) - whole).max() <= 4
    with pytest.raises(BadValue, match="cut short"):
        Image().parse_value(data[:-2000])


def test_a_row_is_answered_by_unpacking_its_picture_once(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[bytes] = []

    def counted(data: bytes, max_pixels: int, side: int = 0) -> PIL.Image.Image:
        unpacked.append(data)
        return decoded(data, max_pixels, side)

    monkeypatch.setattr("luban.features.image_vector.decoded", counted)
    feature = Image(Image.Config(height=24, width=16))
    encoder = feature.fit([PNG], Want("vector", VectorConfig()), 0)
    twice = encoder.encode([feature.parse_value(PNG)]).parts["value"]
    unpacked.clear()
    read = feature.read(data_uri(PNG))
    assert read == PNG
    assert feature.read(read) == PNG
    unpacked.clear()
    assert np.array_equal(encoder.encode([read]).parts["value"], twice)
    assert not unpacked
    # What another encoder sees is another picture: it looks for itself.
    other = Image(Image.Config(height=16, width=16)).fit([PNG], Want("vector", VectorConfig()), 0)
    assert np.array_equal(other.encode([read]).parts["value"], other.encode([PNG]).parts["value"])
    assert len(unpacked) == 3
