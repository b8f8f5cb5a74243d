"""Texts that are nearly the same: found by MinHash and locality-sensitive hashing, verified exactly.

Two rows are near copies if their texts share at least `threshold` of their character shingles
(Jaccard similarity of the sets). rensa's MinHash gives each text `permutations` slots, of which two
texts share a fraction close to their similarity; runs of `rows` slots are hashed to one key, a *band*, and
rows with an equal band are candidates. Each candidate pair is then verified on the texts themselves, so
that MinHash decides only what is looked at. Near copies of near copies are one group.

Decided here:

- bands and rows follow from the threshold: the longest bands that still find a pair of exactly that
  similarity with probability `recall` (0.8 of 128 slots: 21 bands of 6, .998), for longer bands
  bring fewer strangers together;
- a pair already in one group is not compared again, and of a band shared by more than `CROWD` rows each row
  meets only the `CROWD` before it and the `CROWD` first ones of the crowd. Copies are still linked one
  through the other; what is given up are pairs of copies far apart in a crowd of mere look-alikes (forms
  with the same boilerplate) that share no smaller band either;
- groups depend on the rows alone: not on batches, workers or the order of candidates.

Knows no files and no engine; `shingles` does the set arithmetic.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban import catalog
from luban.data.rows import mix
from luban.data.schema import Column, Schema
from luban.errors import ConfigError
from luban.prepare.base import Candidates, Decision, Fetch, SetStep
from luban.prepare.shingles import ShingleSets, blocks, shingles

SEPARATOR = "\x1f"
"""Stands between the columns of a row; a missing value is an empty text."""
CROWD = 16
"""Measured: 8 to 64 find the same copies among 20,000 look-alikes, at a cost that grows with it."""
SEED = 20_240_229
_STEP = np.uint64(0x9E3779B97F4A7C15)
SLICE_ROWS = 128
"""Rows given to rensa at once. Below 256 it starts no threads of its own: the engine's workers suffice."""
ROWS_AT_FIRST = 1 << 14
"""Rows whose texts are read at once before their size is known."""
FETCH_BYTES = 128 << 20
"""Bytes of texts read at once from then on."""
PAIRS_AT_ONCE = 1 << 20
SET_CHARS = 1 << 24
"""Characters of texts whose shingle sets are held at once, 8 bytes each."""


def best_bands(threshold: float, permutations: int, recall: float) -> tuple[int, int]:
    """(bands, rows): the most rows a band that find a pair at the threshold with probability ≥ `recall`.

    A pair of similarity s shares a band of r slots with probability sʳ, so one of b bands with 1 − (1 − sʳ)ᵇ
    (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4).

    >>> best_bands(0.8, 128, 0.99)
    (21, 6)
    """
    rows = 1
    while rows < permutations and 1 - (1 - threshold ** (rows + 1)) ** (permutations // (rows + 1)) >= recall:
        rows += 1
    return permutations // rows, rows


class NearDuplicates(SetStep):
    """Groups rows whose texts are nearly equal, so that a split never parts them; drops them if asked."""

    extra = "train"

    class Config(catalog.Config):
        """Settings of near-duplicate search."""

        columns: tuple[str, ...] | None = None
        """Columns whose texts are compared, joined; by default all free-form inputs."""
        threshold: float = Field(0.8, ge=0.3, le=1)
        """Least Jaccard similarity of two copies."""
        shingle_chars: int = Field(5, ge=1, le=64)
        """Characters a shingle."""
        permutations: int = Field(128, ge=16, le=1024)
        """MinHash slots a row: more find more copies and cost more keys."""
        recall: float = Field(0.99, gt=0, lt=1)
        """Least probability of finding a pair that is exactly as similar as `threshold`."""
        action: Literal["group", "drop"] = "group"
        """group: near copies stay, in one split. drop: only the first of a group stays."""

    def columns(self, schema: Schema) -> tuple[str, ...]:
        """The configured columns, or all free-form inputs that are texts."""
        if self.config.columns is None:
            return tuple(c.name for c in schema.inputs if (kind := _kind(c)).free_form and _is_text(kind))
        for name in self.config.columns:
            if name not in schema:
                known = [column.name for column in schema.columns]
                close = catalog.nearest(name, known)
                hint = f"Did you mean `{close}`? " if close else ""
                raise ConfigError(
                    f"`columns` of near-duplicates must name columns, but got `{name}`.",
                    f"{hint}Columns: {', '.join(known)}.",
                )
            if not _is_text(_kind(schema[name])):
                raise ConfigError(
                    f"`columns` of near-duplicates must name columns of text, but `{name}` is of type "
                    f"{schema[name].type}.",
                    "It compares n-grams of characters. Exact copies of other values are found by `duplicates`.",
                )
        return tuple(self.config.columns)

    def keys(self, batch: pa.RecordBatch) -> np.ndarray:
        """Band hashes [B, bands] uint64; 0 in rows without text."""
        rensa = catalog.need("rensa", "train")
        bands, rows = best_bands(self.config.threshold, self.config.permutations, self.config.recall)
        texts, lengths = joined(batch.columns)
        keys = np.zeros((len(texts), bands), np.uint64)
        for start, end in blocks(lengths, len(texts)):
            hashes, offsets = shingles(texts.slice(start, end - start), self.config.shingle_chars)
            slots = _slots(rensa.RMinHash, hashes, offsets, self.config.permutations)
            keys[start:end] = _band_hashes(slots[:, : bands * rows].reshape(end - start, bands, rows))
        keys[lengths == 0] = 0
        return keys

    def decide(self, candidates: Iterator[Candidates], fetch: Fetch, schema: Schema) -> Iterator[Decision]:
        """One decision on all groups, after the last candidates: memory is 9 bytes for each row of the data."""
        groups = Groups(fetch.num_rows)
        texts = _Texts(fetch, self.columns(schema), self.config.shingle_chars, self.config.threshold)
        for chunk in candidates:
            waiting: list[np.ndarray] = []
            for gap, pairs in _pairs(chunk):
                waiting.append(groups.apart(pairs))
                if gap == 1 or sum(map(len, waiting)) >= PAIRS_AT_ONCE:
                    _link(np.concatenate(waiting), groups, texts)
                    waiting = []
            if waiting:
                _link(np.concatenate(waiting), groups, texts)
        rows, first = groups.members()
        share = f"{self.config.threshold:.0%} of the {self.config.shingle_chars}-character pieces"
        if self.config.action == "drop":
            rows, first = rows[rows != first], first[rows != first]
        if len(rows):
            reason = f"a near copy: shares at least {share} with that row or with another copy of it"
            yield Decision(rows, self.config.action, "near-duplicates", first, reason)


def _kind(column: Column) -> Any:
    return catalog.FEATURES.resolve(column.type)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind.storage) or pa.types.is_large_string(kind.storage))


def joined(columns: Sequence[pa.Array]) -> tuple[pa.Array, np.ndarray]:
    """The texts [B] of rows with some columns, and their characters [B] int64, 0 where all columns are empty."""
    import pyarrow.compute as pc

    parts = [pc.fill_null(column.cast(pa.large_string()), "") for column in columns]
    lengths = sum(pc.utf8_length(part).to_numpy(zero_copy_only=False).astype(np.int64) for part in parts)
    texts = (
        parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, pa.scalar(SEPARATOR, pa.large_string()))
    )
    return texts, np.asarray(lengths)


def _slots(minhash: Any, hashes: np.ndarray, offsets: np.ndarray, permutations: int) -> np.ndarray:
    """MinHash slots [B, permutations] uint32."""
    slots = array("I")
    for start in range(0, len(offsets) - 1, SLICE_ROWS):
        part = offsets[start : start + SLICE_ROWS + 1]
        matrix = minhash.digest_matrix_from_flat_token_hashes(
            hashes[part[0] : part[-1]], (part - part[0]).astype(np.uint64), permutations, SEED
        )
        for row in matrix.to_rows():
            slots.fromlist(row)
    return np.frombuffer(slots, np.uint32).reshape(-1, permutations)


def _band_hashes(slots: np.ndarray) -> np.ndarray:
    """One key [B, bands] uint64, never 0, for the slots [B, bands, rows] of each band."""
    keys = np.broadcast_to(np.arange(1, slots.shape[1] + 1, dtype=np.uint64), slots.shape[:2]).copy()
    for at in range(slots.shape[2]):
        keys *= _STEP
        keys += slots[:, :, at]
    keys = mix(keys)
    keys[keys == 0] = 1
    return keys


def _pairs(chunk: Candidates) -> Iterator[tuple[int, np.ndarray]]:
    """Pairs [P] uint64 of rows to compare, left · 2³² + right, by how far apart they stand in their group.

    Neighbours come first (gap 1): they link most copies, and linked rows need no further comparison.
    """
    rows = chunk.rows.astype(np.uint64)
    sizes = np.diff(chunk.offsets)
    ends = np.repeat(chunk.offsets[1:], sizes)
    starts = np.repeat(chunk.offsets[:-1], sizes)
    at = np.arange(len(rows))
    for gap in range(1, CROWD + 1):
        at = at[ends[at] - at > gap]
        if not len(at):
            return
        yield gap, rows[at] << np.uint64(32) | rows[at + gap]
    at = np.arange(len(rows))
    for leader in range(CROWD):
        far = at[at - starts > leader + CROWD]
        if not len(far):
            return
        yield CROWD + 1, rows[starts[far] + leader] << np.uint64(32) | rows[far]


def _split(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The left and right rows [P] int64 of coded pairs."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _link(pairs: np.ndarray, groups: Groups, texts: _Texts) -> None:
    """Join the groups of those pairs that are near copies."""
    pairs = np.unique(pairs)
    groups.join(pairs[texts.alike(*_split(pairs))])


class Groups:
    """Sets of rows that grow together; a set is named by its smallest row."""

    def __init__(self, rows: int) -> None:
        self._first = np.arange(rows)
        self._linked = np.zeros(rows, bool)

    def apart(self, pairs: np.ndarray) -> np.ndarray:
        """Those of some pairs whose rows are in different sets."""
        left, right = _split(pairs)
        apart: np.ndarray = pairs[self._first[left] != self._first[right]]
        return apart

    def join(self, pairs: np.ndarray) -> None:
        """Unite the sets of the two rows of each pair."""
        left, right = _split(pairs)
        self._linked[left] = self._linked[right] = True
        first = self._first
        while len(left):
            one, other = first[left], first[right]
            differ = one != other
            left, right = np.minimum(one, other)[differ], np.maximum(one, other)[differ]
            np.minimum.at(first, right, left)
            while not np.array_equal(first[first], first):
                first[:] = first[first]

    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """All rows in sets of two or more, ascending, and the first row of each one's set; both [M] int64."""
        rows = np.flatnonzero(self._linked)
        return rows, self._first[rows]


class _Texts:
    """Compares rows by their texts, reading a bounded number of them at a time."""

    def __init__(self, fetch: Fetch, columns: tuple[str, ...], size: int, threshold: float) -> None:
        self._fetch, self._columns, self._size, self._threshold = fetch, columns, size, threshold
        self._rows_at_once = ROWS_AT_FIRST

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Bool [P]: whether rows left[p] and right[p] are near copies. Halves its task until it fits."""
        need, places = np.unique(np.concatenate((left, right)), return_inverse=True)
        if len(need) > self._rows_at_once and len(left) > 1:
            half = len(left) // 2
            return np.concatenate((self.alike(left[:half], right[:half]), self.alike(left[half:], right[half:])))
        if not len(need):
            return np.zeros(0, bool)
        table = self._fetch(need, self._columns)
        self._rows_at_once = max(int(len(need) * FETCH_BYTES / max(table.nbytes, 1)), 64)
        texts, lengths = joined([table.column(name).combine_chunks() for name in self._columns])
        return self._compared(texts, lengths, places[: len(left)], places[len(left) :])

    def _compared(self, texts: pa.Array, lengths: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        need, places = np.unique(np.concatenate((left, right)), return_inverse=True)
        if lengths[need].sum() > SET_CHARS and len(left) > 1:
            half = len(left) // 2
            parts = (slice(None, half), slice(half, None))
            return np.concatenate([self._compared(texts, lengths, left[part], right[part]) for part in parts])
        sets = ShingleSets.of(texts.take(pa.array(need)), self._size)
        return sets.alike(places[: len(left)], places[len(left) :], self._threshold)
