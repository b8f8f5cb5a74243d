"""Pictures: photos, scans, drawings, as the bytes of their files.

Decided here: a value is the file itself, PNG, JPEG, WebP, BMP or GIF (the first frame), as it was given; whether it
can be decoded whole, and is not larger than `max_pixels`, is seen when it is read. Where there is only text (JSON,
CSV) a value is base64 or a data URI. A model sees every picture stretched to `height` × `width`; its parts are a
grid of 4 × 4 patches of what the model sees, and a patch that is taken away gets the picture's mean colour. What is in
a picture it does not know, nor where files lie: a source reads paths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban.data.binary import UNKNOWN_TYPE, from_text, media_type
from luban.errors import BadValue
from luban.features.base import Encoder, Feature, Guess, Parts, Value
from luban.features.image_vector import CELL, MAX_PIXELS, ImageVector, Look, Seen
from luban.features.kinds import Arrays, Kind, VectorConfig, Want
from luban.features.picture import decoded, png, size_of, thumbnail

GRID = 4
"""Patches each way."""
THUMBNAIL = 96
_LOOKED_AT = 50
"""Values of a sample that are judged: pictures are long, and look alike to those who look for pictures."""
_PATHS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")


@dataclass(frozen=True)
class Patches(Parts):
    """A grid of patches of a picture as the model sees it."""

    look: Look = field(default_factory=Look)

    def without(self, removed: Sequence[int]) -> Value:
        """The picture with these patches in its mean colour, as a PNG file; None if none is left."""
        gone = set(removed)
        if len(gone) == len(self.names):
            return None
        if not gone:
            return self.value
        pixels = self.look.see(self.value).copy()
        mean = np.rint(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
        rows, columns = (np.linspace(0, side, GRID + 1).astype(int) for side in pixels.shape[:2])
        for number in gone:
            row, column = divmod(number, GRID)
            pixels[rows[row] : rows[row + 1], columns[column] : columns[column + 1]] = mean
        return png(pixels)


class Image(Feature):
    """A column of pictures; gives a vector of small pixels and of edges."""

    storage: ClassVar[pa.DataType] = pa.large_binary()
    free_form: ClassVar[bool] = True
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"vector": ImageVector}
    extra: ClassVar[str] = "image"
    samples: ClassVar[tuple[str, ...]] = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAFElEQVR4nGP8z4AATAz/EVxGZBkAYS4EAR7FF9"
        "AAAAAASUVORK5CYII=",
        "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAGUlEQVR4nGNkaGCAAyYGBob/9f8hHEZkGQBM0AOCgU7NvwAAAABJRU5ErkJggg==",
        "R0lGODdhBAADAIEAAAoKCv///wAAAAAAACwAAAAABAADAAAICQABCBwYYKDAgAA7",
    )
    """For contract checks: red, green and grey."""

    class Config(Feature.Config):
        """How large a picture may be, and how a model sees it."""

        height: int = Field(32, ge=16, le=256, multiple_of=CELL)
        """Rows of pixels that a model sees; every picture is stretched to them. A multiple of 8."""
        width: int = Field(32, ge=16, le=256, multiple_of=CELL)
        """Columns of pixels that a model sees. A multiple of 8."""
        channels: Literal[1, 3] = 3
        """1: grey; 3: colour."""
        max_pixels: int = Field(MAX_PIXELS, ge=1, le=MAX_PIXELS)
        """Most pixels (width times height) of a picture; a larger one cannot be read, and is not unpacked."""

    config: Config

    @cached_property
    def look(self) -> Look:
        """How the model sees a picture of this column."""
        config = self.config
        return Look(config.height, config.width, config.channels, config.max_pixels)

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Nearly all are pictures, by their headers; in grey where all that can be decoded are grey."""
        step = max(1, len(sample) // _LOOKED_AT)
        looked = sample[::step][:_LOOKED_AT]
        found = [data for text in looked if (data := self._picture(text)) is not None]
        if not looked or len(found) < 0.9 * len(looked):
            return None
        settings = {"channels": 1} if all(map(self._is_grey, found)) else {}
        share = len(found) / len(looked)
        return Guess(0.99 * share, f"{share:.0%} are pictures", settings)

    def _picture(self, text: str) -> bytes | None:
        data = from_text(text)
        if data is None or media_type(data) == UNKNOWN_TYPE:
            return None
        try:
            size_of(data, MAX_PIXELS)
        except BadValue:
            return None
        return data

    def _is_grey(self, data: bytes) -> bool:
        try:
            pixels = np.asarray(decoded(data, self.config.max_pixels))
        except BadValue:
            return True
        return bool((pixels == pixels[:, :, :1]).all())

    def parse_value(self, raw: Any) -> Value:
        """The file's bytes, from bytes, base64 or a data URI; it is decoded once to see that it can be."""
        data = _file(raw)
        if data is not None:
            self.look.open(data)
        return data

    def read(self, raw: Any) -> Value:
        """The same, with the pixels that an encoder of this column asks for: they need not be unpacked again."""
        data = _file(raw)
        return None if data is None else Seen.by(self.look, data)

    def is_plain(self, raw: Any, parsed: Value) -> bool:
        """However it was written, it is the same file."""
        return True

    def unfolds(self, raw: Any) -> int:
        """Pixels, by the header; 0 for what is no picture."""
        data = from_text(raw) if isinstance(raw, str) else raw
        if not isinstance(data, bytes) or not data:
            return 0
        try:
            width, height = size_of(data, MAX_PIXELS)
        except BadValue:
            return 0
        return width * height

    def supports(self, want: Want) -> str | None:
        """Vectors; pixels and edges have no ranks."""
        if isinstance(want.config, VectorConfig) and want.config.scale == "quantile":
            return "pixels and edges of a picture are scaled together, not by ranks"
        return super().supports(want)

    def fit(self, values: Sequence[Value], want: Want, seed: int, subjects: Sequence[Value] | None = None) -> Encoder:
        """An encoder that sees pictures as this column's settings say."""
        return ImageVector.fit(values, want.config, seed, subjects, self.look)

    def parts(self, value: Value) -> Parts:
        """Patches, row by row."""
        places = [f"row {row + 1}, column {column + 1}" for row in range(GRID) for column in range(GRID)]
        return Patches(() if value is None else tuple(places), value, self.look)

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`width`, `height` in pixels and `bytes` of the file; `brightness` and `contrast` (mean and deviation of grey
        in 0 … 1, as the model sees it)."""
        found = np.full((5, len(values)), np.nan)
        for position, value in enumerate(values):
            if value is not None:
                width, height = size_of(value, self.config.max_pixels)
                grey = self.look.see(value).mean(axis=2) / 255
                found[:, position] = width, height, len(value), grey.mean(), grey.std()
        return dict(zip(("width", "height", "bytes", "brightness", "contrast"), found, strict=True))

    def picture(self, value: Value) -> bytes | None:
        """The picture itself, small, as a PNG file."""
        return None if value is None else thumbnail(value, THUMBNAIL, self.config.max_pixels)


def _file(raw: Any) -> bytes | None:
    """The bytes of a picture's file, None where it is missing. Raises BadValue where it cannot be one."""
    if raw is None or raw != raw:
        return None
    if isinstance(raw, str):
        if not raw.strip():
            return None
        data = from_text(raw)
        if data is None:
            data = raw.encode("utf-8", "replace")  # a file whose bytes happen to be UTF-8 may come as text
            if media_type(data) == UNKNOWN_TYPE:
                raise BadValue(_no_picture(raw))
    elif isinstance(raw, bytes | bytearray | memoryview):
        data = bytes(raw)
    else:
        raise BadValue(f"is a {type(raw).__name__}, not a picture")
    return data or None


def _no_picture(text: str) -> str:
    if text.strip().lower().endswith(_PATHS):
        return "is a path, not a picture; a source of kind pictures reads files, or send the file itself"
    return "is neither base64 nor a data URI of a picture"
