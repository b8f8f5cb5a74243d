"""Sorting keys that do not fit into memory, to find the rows that share one.

Records (key, column and position: 16 bytes) are written in runs, each in the order of the keys' high
bits, to one nameless spill file; then key ranges that fit into memory are read from all runs, sorted,
and the positions of equal keys given out. A range that is too large is split by its next bits.

Memory is about `memory_bytes` (or 24 bytes a row of the largest group of equal keys, if that is more),
disk 16 bytes a key, time O(n log n) without a Python step per row. Order is by key, then key column:
it depends on neither batches nor memory. Knows nothing of what keys mean.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from luban.store.durable import make_folder, writing

MEMORY_BYTES = 256 << 20

_RECORD = np.dtype([("key", "<u8"), ("tag", "<u8")])
_COST_BYTES = 64  # what sorting a record takes at its peak: itself, key copy, order, sorted copies
_PREFIX_BITS = 12
_PREFIXES = 1 << _PREFIX_BITS
_POSITION_BITS = 48
_MAX_COLUMNS = 1 << (64 - _POSITION_BITS)
_POSITION_MASK = np.uint64((1 << _POSITION_BITS) - 1)


class Groups:
    """The groups of rows that share a key, in a key column; at least two rows each.

    Iterating gives one ascending [M] int64 array of positions a group; `chunks` gives many groups at
    once, for vectorised work. Both may be started again. The spill file has no name: it vanishes with
    this object, `close`, or the process.
    """

    def __init__(self, spill: _Spill) -> None:
        self._spill = spill

    def __iter__(self) -> Iterator[np.ndarray]:
        for positions, offsets in self.chunks():
            for start, end in pairwise(offsets.tolist()):
                yield positions[start:end]

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(positions [N] int64, offsets [G+1] int64): group g is `positions[offsets[g]:offsets[g+1]]`."""
        for tags, offsets in self._spill.groups():
            yield (tags & _POSITION_MASK).view(np.int64), offsets

    def close(self) -> None:
        """Give the disk space back now."""
        self._spill.close()


def sort_keys(
    keys: Iterable[tuple[int | np.ndarray, np.ndarray]], spill: Path, memory_bytes: int = MEMORY_BYTES
) -> Groups:
    """Read all keys and spill them. See Engine.sort.

    `keys` yields (positions [B] int64 ≥ 0 or the first of consecutive ones, keys [B] or [B, K] uint64); the key
    0 means "no key". A position may come once per key column. Raises StoreError if the spill cannot
    be written, ValueError for arrays of other shapes.
    """
    out = _Spill(spill, max(memory_bytes // _COST_BYTES, _PREFIXES), 64 - _PREFIX_BITS)
    try:
        for positions, batch in keys:
            out.add(_records(positions, np.asarray(batch)))
        out.flush()
    except BaseException:
        out.close()
        raise
    return Groups(out)


def _records(positions: int | np.ndarray, keys: np.ndarray) -> np.ndarray:
    if keys.ndim == 1:
        keys = keys[:, None]
    if keys.ndim != 2 or keys.dtype != np.uint64 or keys.shape[1] > _MAX_COLUMNS:
        raise ValueError(
            f"keys must be [B] or [B, K] uint64, K at most {_MAX_COLUMNS}, but got {keys.dtype} {keys.shape}"
        )
    if isinstance(positions, int | np.integer):
        positions = np.arange(positions, positions + len(keys), dtype=np.int64)
    if positions.shape != keys.shape[:1] or (len(positions) and not 0 <= positions.min() <= positions.max() < 1 << 48):
        raise ValueError(f"positions must be one in 0 … 2^48 - 1 per row of {keys.shape}, but got {positions.shape}")
    rows, columns = np.nonzero(keys)
    records = np.empty(len(rows), _RECORD)
    records["key"] = keys[rows, columns]
    records["tag"] = positions.astype(np.uint64)[rows] | (columns.astype(np.uint64) << np.uint64(_POSITION_BITS))
    return records


class _Spill:
    """Runs of records in one nameless file, each run in the order of 12 bits of the keys from `shift` up."""

    def __init__(self, folder: Path, max_records: int, shift: int) -> None:
        self.folder = folder
        self.max_records = max_records
        self.shift = shift
        self.offsets: list[np.ndarray] = []  # a run: [4097] places of its prefixes in the file, in records
        self.pending: list[np.ndarray] = []
        self.num_pending = 0
        with writing("a spill file", folder):
            make_folder(folder)
            self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - lives as long as this does

    def add(self, records: np.ndarray) -> None:
        """Take records, in any order."""
        for start in range(0, len(records), self.max_records):
            part = records[start : start + self.max_records]
            if self.num_pending + len(part) > self.max_records:
                self.flush()
            self.pending.append(part)
            self.num_pending += len(part)

    def flush(self) -> None:
        """Write what was taken as one run."""
        if not self.num_pending:
            return
        records = np.concatenate(self.pending)
        self.pending, self.num_pending = [], 0
        prefixes = self.prefix(records["key"])
        run = records[np.argsort(prefixes, kind="stable")]  # radix sort: 16-bit numbers
        start = int(self.offsets[-1][-1]) if self.offsets else 0
        ends = np.cumsum(np.bincount(prefixes, minlength=_PREFIXES))
        self.offsets.append(start + np.concatenate([[0], ends]))
        self.write(run, start)

    def prefix(self, keys: np.ndarray) -> np.ndarray:
        """The 12 bits of each key that this spill is ordered by, as uint16."""
        if self.shift >= 0:
            return ((keys >> np.uint64(self.shift)) & np.uint64(_PREFIXES - 1)).astype(np.uint16)
        return ((keys << np.uint64(-self.shift)) & np.uint64(_PREFIXES - 1)).astype(np.uint16)

    def write(self, run: np.ndarray, start: int) -> None:
        """Write a run at its place; a full disk is a StoreError."""
        with writing("a spill file", self.folder):
            self.file.seek(start * _RECORD.itemsize)
            view = run.view(np.uint8).data
            while view:
                view = view[self.file.write(view) :]

    def read(self, first: int, last: int) -> Iterator[np.ndarray]:
        """The records of the prefixes first … last - 1, a run at a time."""
        for offsets in self.offsets:
            start, end = int(offsets[first]), int(offsets[last])
            for begin in range(start, end, self.max_records):
                part = np.empty(min(self.max_records, end - begin), _RECORD)
                self.file.seek(begin * _RECORD.itemsize)
                view = part.view(np.uint8).data
                while view:
                    view = view[self.file.readinto(view) :]
                yield part

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Tags and offsets of groups, in the order of keys."""
        for first, last in self.ranges():
            size = sum(int(offsets[last] - offsets[first]) for offsets in self.offsets)
            if size <= self.max_records:
                yield from _groups_of(np.concatenate(list(self.read(first, last))))
            elif self.has_one_key(first):
                yield from _cut(None, self.sorted_tags(first, size))
            else:
                yield from self.split(first)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Neighbouring prefixes that fit into memory together; one alone if it does not fit."""
        if not self.offsets:
            return
        sizes = np.sum([np.diff(offsets) for offsets in self.offsets], axis=0)
        first, total = 0, 0
        for prefix, size in enumerate(sizes.tolist()):
            if total and total + size > self.max_records:
                yield first, prefix
                total = 0
            if not total:
                first = prefix
            total += size
        if total:
            yield first, _PREFIXES

    def has_one_key(self, prefix: int) -> bool:
        """Whether all records of a prefix have the same key: then no finer split would help."""
        lowest, highest = 1 << 64, -1
        for part in self.read(prefix, prefix + 1):
            lowest, highest = min(lowest, int(part["key"].min())), max(highest, int(part["key"].max()))
        return lowest == highest

    def sorted_tags(self, prefix: int, size: int) -> np.ndarray:
        """The tags of a prefix with one key, 8 bytes each and nothing beside."""
        tags, filled = np.empty(size, np.uint64), 0
        for part in self.read(prefix, prefix + 1):
            tags[filled : filled + len(part)] = part["tag"]
            filled += len(part)
        tags.sort()
        return tags

    def split(self, prefix: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The groups of one prefix that is too large, through another spill by the next bits."""
        finer = _Spill(self.folder, self.max_records, self.shift - _PREFIX_BITS)
        try:
            for part in self.read(prefix, prefix + 1):
                finer.add(part)
            finer.flush()
            yield from finer.groups()
        finally:
            finer.close()

    def close(self) -> None:
        """Remove the file."""
        self.file.close()


def _groups_of(records: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups of equal key and column: an unstable sort by key first, then only what repeats by tag too."""
    keys = np.ascontiguousarray(records["key"])
    order = np.argsort(keys)
    keys = keys[order]
    repeats = keys[1:] == keys[:-1]
    shared = np.zeros(len(keys), bool)
    shared[1:] |= repeats
    shared[:-1] |= repeats
    keys, tags = keys[shared], records["tag"][order[shared]]
    order = np.lexsort((tags, keys))
    yield from _cut(keys[order], tags[order])


def _cut(keys: np.ndarray | None, tags: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Sorted tags cut where key or column changes; what stands alone is left out."""
    if not len(tags):
        return
    columns = (tags >> np.uint64(_POSITION_BITS)).astype(np.uint16)
    changes = columns[1:] != columns[:-1]
    if keys is not None:
        changes |= keys[1:] != keys[:-1]
    bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(tags)]])
    sizes = np.diff(bounds)
    kept = sizes > 1
    if not kept.any():
        return
    offsets = np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64)
    yield tags if kept.all() else tags[np.repeat(kept, sizes)], offsets
