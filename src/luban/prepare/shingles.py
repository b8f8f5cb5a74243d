"""Character shingles of texts as arrays: their hashes, the sets of them, and exact Jaccard similarity.

A shingle is a run of `size` Unicode characters (not bytes); a text shorter than that is its own single
shingle. Everything is done for many texts at once, from UTF-32 code points, without a Python object a
shingle. Decided here: a set is kept as sorted hashes of 52 bits, so that 12 bits are left to say which
text or pair an element belongs to and one sort of plain integers does all sets or intersections of a
block. Two unlike shingles of 52 equal bits are expected once in 4.5 · 10¹⁵ comparisons, which moves the
similarity of two texts of 10,000 characters by 10⁻⁴ in one such pair of texts in 10⁷.

Does not know rows, columns, MinHash or what is done with similar texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

BLOCK_CHARS = 1 << 16
"""Characters (or set elements) handled at once: few, so that the arrays stay in the processor's cache."""
OWNER_BITS = 12
_VALUE_MASK = np.uint64((1 << (64 - OWNER_BITS)) - 1)
PAD = chr(0x10FFFF)
"""Fills short texts up to one shingle: a code point that is no character, so no text has it."""
_STEP, _LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


def shingles(texts: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes [S] uint64 of all shingles in text order, repeats included, and offsets [B + 1] int64.

    `texts` are [B] strings without nulls; an empty one gives a single shingle of its own.
    """
    import pyarrow.compute as pc

    padded = pc.utf8_rpad(texts.cast(pa.large_string()), width=size, padding=PAD)
    lengths = pc.utf8_length(padded).to_numpy(zero_copy_only=False).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(lengths - (size - 1))))
    if not len(lengths):
        return np.empty(0, np.uint64), offsets
    starts = padded.buffers()[1]
    first, last = np.frombuffer(starts, np.int64)[[padded.offset, padded.offset + len(padded)]]
    text = bytes(padded.buffers()[2][first:last]).decode("utf-8").encode("utf-32-le")
    points = np.frombuffer(text, np.uint32).astype(np.uint64)
    hashes = points[: len(points) - (size - 1)].copy()
    for at in range(1, size):
        hashes *= _STEP
        hashes += points[at : len(hashes) + at]
    inside = np.ones(len(points), bool)
    inside[(np.cumsum(lengths)[:, None] - np.arange(1, size)).ravel()] = False
    hashes = hashes[inside[: len(hashes)]]
    hashes ^= hashes >> np.uint64(29)
    hashes *= _LAST
    return hashes, offsets


def blocks(lengths: np.ndarray, max_rows: int) -> Iterator[tuple[int, int]]:
    """Ranges that cover [B] rows in order, each of at most `max_rows` rows and BLOCK_CHARS in all (one row: any)."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = ends[start - 1] if start else 0
        fits = int(np.searchsorted(ends, before + BLOCK_CHARS, side="right"))
        end = min(max(fits, start + 1), start + max_rows, len(lengths))
        yield start, end
        start = end


@dataclass(frozen=True)
class ShingleSets:
    """The sets of shingles of [B] texts: `values[offsets[b]:offsets[b + 1]]`, ascending, distinct."""

    values: np.ndarray
    """[S] uint64, below 2⁵²."""
    offsets: np.ndarray
    """[B + 1] int64."""

    @classmethod
    def of(cls, texts: pa.Array, size: int) -> ShingleSets:
        """The sets of `texts` [B] (strings, no nulls)."""
        import pyarrow.compute as pc

        lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
        values, counts = [np.empty(0, np.uint64)], [np.zeros(1, np.int64)]
        for start, end in blocks(lengths, 1 << OWNER_BITS):
            hashes, offsets = shingles(texts.slice(start, end - start), size)
            owned = _owners(np.diff(offsets))
            owned |= hashes >> np.uint64(OWNER_BITS)
            owned.sort()
            fresh = np.ones(len(owned), bool)
            np.not_equal(owned[1:], owned[:-1], out=fresh[1:])
            owned = owned[fresh]
            counts.append(_counts(owned, end - start))
            owned &= _VALUE_MASK
            values.append(owned)
        return cls(np.concatenate(values), np.cumsum(np.concatenate(counts)))

    @property
    def sizes(self) -> np.ndarray:
        """Elements a set [B] int64."""
        return np.diff(self.offsets)

    def alike(self, left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
        """Bool [P]: whether sets left[p] and right[p] have Jaccard similarity ≥ `threshold`, exactly.

        |A ∩ B| / |A ∪ B| ≥ t is tested as |A ∩ B| · (1 + t) ≥ t · (|A| + |B|), in float64 with a slack of 10⁻⁹
        so that a similarity of exactly t counts.
        """
        sizes = self.sizes
        total = sizes[left] + sizes[right]
        least = threshold * total / (1 + threshold) - 1e-9
        found: np.ndarray = np.minimum(sizes[left], sizes[right]) >= least
        todo = np.flatnonzero(found)
        found[todo] = self._shared(left[todo], right[todo]) >= least[todo]
        return found

    def _shared(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """|A ∩ B| [P] int64 of pairs of sets."""
        sizes = self.sizes
        shared = np.zeros(len(left), np.int64)
        for start, end in blocks(sizes[left] + sizes[right], 1 << OWNER_BITS):
            both = [self._gather(side[start:end]) for side in (left, right)]
            owned = np.concatenate(both)
            owned.sort(kind="stable")  # two ascending runs: merged in one pass
            shared[start:end] = _counts(owned[1:][owned[1:] == owned[:-1]], end - start)
        return shared

    def _gather(self, sets: np.ndarray) -> np.ndarray:
        """The elements of some sets, one after the other, each with its place in `sets` in the top bits."""
        sizes = self.sizes[sets]
        ends = np.cumsum(sizes)
        places = np.arange(ends[-1]) + np.repeat(self.offsets[sets] - (ends - sizes), sizes)
        elements = _owners(sizes)
        elements |= self.values[places]
        return elements


def _counts(owned: np.ndarray, owners: int) -> np.ndarray:
    """How many of some sorted elements each owner has [owners] int64."""
    ends = np.arange(1, owners, dtype=np.uint64) << np.uint64(64 - OWNER_BITS)
    return np.diff(np.searchsorted(owned, ends), prepend=0, append=len(owned))


def _owners(counts: np.ndarray) -> np.ndarray:
    """The number of each owner in the top bits, as often as it owns an element."""
    numbers = np.arange(len(counts), dtype=np.uint64) << np.uint64(64 - OWNER_BITS)
    return np.repeat(numbers, counts)
