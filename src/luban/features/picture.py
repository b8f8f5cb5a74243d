"""Pictures that nobody vouches for, from encoded bytes to plain pixels.

Decided here: PNG, JPEG, WebP, BMP and GIF, and nothing else that Pillow might read; of several frames the first. Size
is judged by the header, before anything is unpacked; what is damaged or cut short is refused, never filled up. The
orientation that a camera wrote (EXIF) is applied; what is transparent stands on white; 16-bit grey keeps its upper
8 bits. Resizing is Pillow's, in integers, so pixels of a PNG, BMP or GIF are the same to the bit on every machine;
JPEG and WebP are decoded by libraries that may round otherwise in another release. Pillow comes with the extra `image`.
Knows no column and no model.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from luban.catalog import need
from luban.errors import BadValue

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
_ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def size_of(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Width and height by the header alone, before it is turned. Raises BadValue: no picture, or too many pixels."""
    with _opened(data, max_pixels) as image:
        return image.size


def decoded(data: bytes, max_pixels: int, side: int = 0) -> Image:
    """The whole picture upright, in RGB. Raises BadValue with the reason.

    Of a JPEG that is larger, no more need be made of it than a picture whose sides are `side` or longer: a phone's
    photo then takes about half the time, and all of the file is read nevertheless.
    """
    with _opened(data, max_pixels) as image:
        try:
            if side:
                image.draft(None, (side, side))
            image.load()
            return _plain(_upright(image))
        except Exception as error:  # hostile bytes make decoders raise whatever there is
            raise BadValue(f"is damaged or cut short: {_said(error)}") from error


def resized(image: Image, height: int, width: int) -> np.ndarray:
    """Pixels [height, width, 3] uint8; a picture of that size keeps its own."""
    from PIL.Image import Resampling

    if image.size != (width, height):
        image = image.resize((width, height), Resampling.BILINEAR)
    return np.asarray(image)


def png(pixels: np.ndarray) -> bytes:
    """Pixels [H, W, 3] uint8 as a PNG file."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def thumbnail(data: bytes, side: int, max_pixels: int) -> bytes:
    """The picture as a PNG file no larger than `side` either way."""
    image = decoded(data, max_pixels)
    image.thumbnail((side, side))
    return png(np.asarray(image))


def _opened(data: bytes, max_pixels: int) -> Image:
    need("PIL.Image", "image")
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadValue("is no PNG, JPEG, WebP, BMP or GIF") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadValue(f"has far more pixels than the {max_pixels:,} that are allowed") from error
    except Exception as error:  # as above
        raise BadValue(f"is damaged or cut short: {_said(error)}") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        raise BadValue(f"has {width:,} × {height:,} pixels, more than the {max_pixels:,} that are allowed")
    return image


def _upright(image: Image) -> Image:
    from PIL.Image import Transpose

    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # what a camera wrote beside the pixels may be damaged; they are not
        turn = None
    return image if turn is None else image.transpose(Transpose[turn])


def _plain(image: Image) -> Image:
    """The picture in RGB."""
    from PIL.Image import alpha_composite, fromarray, new

    if image.mode.startswith("I"):
        image = fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = new("RGBA", image.size, "white")
        return alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _said(error: Exception) -> str:
    text: Any = str(error).strip() or type(error).__name__
    return str(text).splitlines()[0][:120]
