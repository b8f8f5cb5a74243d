"""The vector of a picture: small pixels, and histograms of the directions of its edges.

Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005: cells of 8 × 8 pixels, nine
directions without sign, blocks of 2 × 2 cells, clipped at 0.2 and normalised again ("L2-Hys"). Decided here: each
pixel counts for one cell and one direction (no interpolation), found by integer products, and sums are integers, so the
vector of the same pixels is the same to the bit on every machine, alone or among others. With a linear model on
1,347 of scikit-learn's digits it gives 99 % where pixels alone give 97 %; on 5,000 of Fashion-MNIST 87 % for 83 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from luban.catalog import Config, need
from luban.features.base import Encoder, EncoderState, Value
from luban.features.kinds import Encoded, Kind, VectorConfig
from luban.features.picture import decoded, resized

if TYPE_CHECKING:
    from PIL.Image import Image

CELL, DIRECTIONS, CLIP = 8, 9, 0.2
MAX_PIXELS = 50_000_000
NUMBERS = 10.0
"""On the scale `standard` pixels together vary as much as so many numbers, and so do edges: a picture of a thousand
entries must not drown the columns beside it, nor need another penalty."""
_ANGLES = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
_COS, _SIN = (np.rint(wave(_ANGLES) * 1024).astype(np.int32) for wave in (np.cos, np.sin))
_TINY = 1e4
"""Added to a block's squared length, in gradients times 16: flat blocks stay near 0."""


@dataclass(frozen=True)
class Look:
    """How a model sees a picture: stretched to this size, in grey (1 channel) or in colour (3)."""

    height: int = 32
    width: int = 32
    channels: int = 3
    max_pixels: int = MAX_PIXELS

    @property
    def num_pixels(self) -> int:
        """Entries of the vector that are pixels: a quarter of those that it sees."""
        return (self.height // 2) * (self.width // 2) * self.channels

    @property
    def num_edges(self) -> int:
        """Entries that tell of edges."""
        return (self.height // CELL - 1) * (self.width // CELL - 1) * 4 * DIRECTIONS

    def open(self, data: bytes) -> Image:
        """The picture, no smaller than is needed to see it well. Raises BadValue."""
        return decoded(data, self.max_pixels, 2 * max(self.height, self.width))

    def see(self, data: bytes) -> np.ndarray:
        """Pixels [height, width, 3] uint8, not to be changed. Raises BadValue."""
        if isinstance(data, Seen) and data.look == self:
            return data.pixels
        return resized(self.open(data), self.height, self.width)


class Seen(bytes):
    """A picture's file that was unpacked once, with what a model sees of it; equal to the file."""

    look: Look
    pixels: np.ndarray

    @classmethod
    def by(cls, look: Look, data: bytes) -> Seen:
        """Unpack it. Raises BadValue."""
        pixels = look.see(data)
        seen = cls(data)
        seen.look, seen.pixels = look, pixels
        return seen


class ImageVector(Encoder):
    """Pictures as [B, D] float32; with `missing: mean` one column more, that is 1 where missing."""

    array_kind: ClassVar[Kind] = "vector"

    def __init__(self, config: VectorConfig, look: Look, mean: np.ndarray, scales: tuple[float, float]) -> None:
        super().__init__()
        self.config = config
        self.look = look
        self._mean = mean
        self._scales = scales
        self._divide = np.repeat(np.asarray(scales), (look.num_pixels, look.num_edges))

    @classmethod
    def fit(
        cls,
        values: Sequence[Value],
        config: Config,
        seed: int,
        subjects: Sequence[Value] | None,
        look: Look | None = None,
    ) -> ImageVector:
        """The mean picture of training values, and how far they are from it. `seed` and `subjects` are not used."""
        assert isinstance(config, VectorConfig)
        look = look or Look()
        size = look.num_pixels + look.num_edges
        if config.scale == "none":
            return cls(config, look, np.zeros(size), (1.0, 1.0))
        total, squares, count = np.zeros(size), np.zeros(size), 0
        for value in values:
            if value is not None:
                one = figures(value, look)
                total, squares, count = total + one, squares + one * one, count + 1
        mean = total / max(count, 1)
        variance = np.maximum(squares / max(count, 1) - mean * mean, 0.0)
        parts = (variance[: look.num_pixels], variance[look.num_pixels :])
        pixels, edges = (float(np.sqrt(part.sum() / NUMBERS)) or 1.0 for part in parts)
        return cls(config, look, mean, (pixels, edges))

    @classmethod
    def restore(cls, state: EncoderState) -> ImageVector:
        """The encoder that gave `state`. Raises MissingExtra here, and not at the first picture."""
        need("PIL.Image", "image")
        config, look = VectorConfig.model_validate(state.json["config"]), Look(**state.json["look"])
        pixels, edges = state.json["scales"]
        return cls(config, look, state.tensors["mean"], (pixels, edges))

    def state(self) -> EncoderState:
        """JSON `config`, `look`, `scales` (of pixels, of edges); tensor `mean` [D] float64, the mean picture."""
        about = {"config": self.config.identity(), "look": asdict(self.look), "scales": list(self._scales)}
        return EncoderState(about, {"mean": self._mean})

    @property
    def size(self) -> int:
        """Pixels, edges, and one for missing where it is not NaN."""
        return self.look.num_pixels + self.look.num_edges + int(self.config.missing != "nan")

    def encode(self, values: Sequence[Value]) -> Encoded:
        """`value` [B, D] float32 and `present` [B] bool."""
        out = np.zeros((len(values), self.size), np.float32)
        present = np.array([value is not None for value in values], bool)
        for row, value in enumerate(values):
            if value is not None:
                out[row, : len(self._mean)] = (figures(value, self.look) - self._mean) / self._divide
        if self.config.missing == "nan":
            out[~present] = np.nan
        else:
            # what is not known is the mean picture, on whatever scale
            out[~present, :-1] = 0.0 if self.config.scale == "standard" else 0.5
            out[:, -1] = ~present
        return Encoded({"value": out, "present": present})


def figures(data: bytes, look: Look) -> np.ndarray:
    """Pixels and edges [D] float64 of one picture, each in 0 … 1."""
    seen = look.see(data)
    grey = _grey(seen)
    small = (grey[:, :, None] if look.channels == 1 else seen).astype(np.int64)
    height, width = look.height // 2, look.width // 2
    pixels = small.reshape(height, 2, width, 2, look.channels).sum(axis=(1, 3)).reshape(-1) / 1020.0
    return np.concatenate([pixels, edges(grey)])


def _grey(pixels: np.ndarray) -> np.ndarray:
    """Luma [H, W] int32 after ITU-R BT.601, as Pillow rounds it."""
    red, green, blue = (pixels[:, :, i].astype(np.int32) for i in range(3))
    return np.asarray((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16)


def edges(grey_hw: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients [num_edges] float64 of a grey picture, whose sides are multiples of 8."""
    padded = np.pad(grey_hw, 1, mode="edge")
    right = (padded[1:-1, 2:] - padded[1:-1, :-2]).astype(np.int32)
    down = (padded[2:, 1:-1] - padded[:-2, 1:-1]).astype(np.int32)
    direction = np.abs(right[..., None] * _COS + down[..., None] * _SIN).argmax(axis=-1)
    length = np.rint(np.sqrt((right * right + down * down) * 256.0)).astype(np.int64)
    rows, columns = grey_hw.shape[0] // CELL, grey_hw.shape[1] // CELL
    cell = (np.arange(rows * CELL) // CELL)[:, None] * columns + np.arange(columns * CELL) // CELL
    bins = (cell * DIRECTIONS + direction).ravel()
    # whole numbers below 2**53: the order of a sum does not matter
    counts = np.bincount(bins, length.ravel(), rows * columns * DIRECTIONS).reshape(rows, columns, DIRECTIONS)
    blocks = np.concatenate([counts[:-1, :-1], counts[:-1, 1:], counts[1:, :-1], counts[1:, 1:]], axis=2)
    blocks = blocks.reshape(-1, 4 * DIRECTIONS)
    clipped = np.minimum(blocks / np.sqrt(_squares(blocks) + _TINY), CLIP)
    return (clipped / np.sqrt(_squares(clipped) + 1e-6)).reshape(-1)


def _squares(blocks: np.ndarray) -> np.ndarray:
    """Sums of squares [N, 1] of rows, in the order of columns, so that no library sums in another."""
    total = np.zeros(len(blocks))
    for column in (blocks * blocks).T:
        total = total + column
    return total[:, None]
