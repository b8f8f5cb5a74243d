"""Fits the vocabulary of a bag: which n-grams are in enough training rows, and in how many.

All windows of all texts become 64-bit keys; equal keys are brought together by one stable sort and
counted; strings are read back from one occurrence of each survivor. Decided here:

- every occurrence of a survivor is compared with the first one, character by character, so two n-grams
  with one key cannot be taken for one: the later is dropped and counted;
- keys are handled in slices of their high bits when there are many, so memory stays bounded;
- the order of the vocabulary is the order of strings, whatever the order of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from luban.features.kinds import BagConfig
from luban.features.ngrams import Units, units, window_keys

PIECE = 1 << 20
"""Units whose windows are made at once."""
MAX_KEYS = 24_000_000
"""Windows that are sorted at once: about 1 GB of working memory."""


@dataclass(frozen=True)
class Terms:
    """A vocabulary in order of strings, the rows [V] int64 that hold each, and what was dropped."""

    strings: list[str]
    rows: np.ndarray
    collisions: int


@dataclass(frozen=True)
class _Survivors:
    """N-grams seen often enough: first unit, number of units, rows."""

    first: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    collisions: int


def fit_terms(texts: Sequence[str], config: BagConfig, owners: np.ndarray) -> Terms:
    """The vocabulary of these texts; `owners` [B] says whom each counts for in `min_rows`."""
    order = np.argsort(owners, kind="stable")
    found = units([texts[i] for i in order.tolist()], config)
    slices = 1
    while len(found.keys) * (config.ngram_max - config.ngram_min + 1) / slices > MAX_KEYS:
        slices *= 2
    parts = [_slice(found, config, owners[order], number, slices) for number in range(slices)]
    first = np.concatenate([part.first for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    strings, rows = _top(found, first, lengths, rows, config.max_terms)
    by_string = sorted(range(len(strings)), key=strings.__getitem__)
    return Terms([strings[i] for i in by_string], rows[by_string], sum(part.collisions for part in parts))


def _top(
    found: Units, first: np.ndarray, lengths: np.ndarray, rows: np.ndarray, limit: int
) -> tuple[list[str], np.ndarray]:
    """The `limit` most frequent, ties broken by string."""
    if len(rows) > limit:
        least = np.partition(rows, len(rows) - limit)[len(rows) - limit]
        sure, tied = np.flatnonzero(rows > least), np.flatnonzero(rows == least)
        names = found.strings(first[tied], lengths[tied])
        chosen = sorted(range(len(names)), key=names.__getitem__)[: limit - len(sure)]
        keep = np.concatenate([sure, tied[np.array(chosen, dtype=np.int64)]])
        first, lengths, rows = first[keep], lengths[keep], rows[keep]
    return found.strings(first, lengths), rows


def _slice(found: Units, config: BagConfig, owners: np.ndarray, number: int, slices: int) -> _Survivors:
    """Survivors among the windows whose keys fall into one slice."""
    keys, first, lengths, rows = _windows(found, config, number, slices)
    order = _sorted_and_frequent(keys, config.min_rows)
    keys, first, lengths, rows = keys[order], first[order], lengths[order], rows[order]
    impostor = _impostors(found, keys, first, lengths)
    collisions = int(impostor.sum())
    if collisions:
        keys, first, lengths, rows = (array[~impostor] for array in (keys, first, lengths, rows))
    if not len(keys):
        return _Survivors(first, lengths, first, collisions)
    new_key = _changes(keys)
    starts = np.flatnonzero(new_key)
    num_rows = np.add.reduceat(new_key | _changes(rows), starts, dtype=np.int64)
    num_owners = np.add.reduceat(new_key | _changes(owners[rows]), starts, dtype=np.int64)
    kept = num_owners >= config.min_rows
    return _Survivors(first[starts][kept], lengths[starts][kept], num_rows[kept], collisions)


def _sorted_and_frequent(keys: np.ndarray, least: int) -> np.ndarray:
    """Positions in order of keys, then of position, of the keys that occur `least` times or more."""
    order = np.argsort(keys, kind="stable")
    if least == 1 or not len(keys):
        return order
    starts = np.flatnonzero(_changes(keys[order]))
    sizes = np.diff(starts, append=len(keys))
    return order[np.repeat(sizes >= least, sizes)]


def _changes(values: np.ndarray) -> np.ndarray:
    """True where a value [N] differs from the one before it, and at the first."""
    out = np.ones(len(values), bool)
    out[1:] = values[1:] != values[:-1]
    return out


def _windows(
    found: Units, config: BagConfig, number: int, slices: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Key, first unit, number of units and row of all windows within one text, of one slice of keys."""
    pieces = [_piece(found, config, number, slices, low, high) for low, high in _ranges(found.ends)]
    keys, first, lengths, rows = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return keys, first, lengths, rows


def _ranges(ends: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of whole texts of about `PIECE` units each; at least one range."""
    steps = np.arange(PIECE, int(ends[-1]) if len(ends) else 0, PIECE)
    bounds = np.unique([0, *np.searchsorted(ends, steps).tolist(), len(ends)]).tolist()
    return list(pairwise(bounds)) or [(0, 0)]


def _piece(
    found: Units, config: BagConfig, number: int, slices: int, low: int, high: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same, of texts `low` to `high`."""
    begin = int(found.ends[low - 1]) + 1 if low else 0
    ends = found.ends[low:high] - begin
    row_of = np.repeat(np.arange(high - low, dtype=np.int32), np.diff(ends, prepend=-1))
    keys, sizes = window_keys(found.keys[begin : begin + len(row_of)], config.ngram_min, config.ngram_max)
    first = np.concatenate([np.arange(size) for size in sizes])
    lengths = np.repeat(np.arange(config.ngram_min, config.ngram_max + 1, dtype=np.int8), sizes)
    kept = (ends[row_of] - np.arange(len(row_of)))[first] >= lengths
    if slices > 1:
        kept &= slice_of(keys, slices) == number
    first = first[kept]
    return keys[kept], first + begin, lengths[kept], row_of[first] + low


def slice_of(keys: np.ndarray, slices: int) -> np.ndarray:
    """Which of `slices` (a power of two) each key belongs to."""
    mixed = keys * np.uint64(0x94D049BB133111EB)
    return mixed >> np.uint64(64 - (slices.bit_length() - 1))


def _impostors(found: Units, keys: np.ndarray, first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """True [N] for windows (sorted by key) that share a key with an earlier window but differ from it."""
    if not len(keys):
        return np.zeros(0, bool)
    new_key = _changes(keys)
    starts = np.flatnonzero(new_key)
    repeated = np.flatnonzero(~new_key)
    like = starts[np.cumsum(new_key)[repeated] - 1]
    here, there = first[repeated], first[like]
    names = found.names()
    differs = lengths[repeated] != lengths[like]
    size = np.minimum(lengths[repeated], lengths[like])
    for step in range(int(size.max(initial=0))):
        inside = np.flatnonzero(step < size)
        differs[inside] |= names[here[inside] + step] != names[there[inside] + step]
    out = np.zeros(len(keys), bool)
    out[repeated] = differs
    return out
