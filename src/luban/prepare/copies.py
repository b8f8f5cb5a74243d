"""Rows with equal inputs, verified on the values: what `duplicates` and `label-conflicts` have in common.

Decided here: rows are compared with the first of their group on arrays; rows that share a key by chance
make a group of their own and are compared again. Knows no action and no target.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from luban.prepare.base import Candidates, Fetch

PIECE_ROWS = 2_000_000


def equal_groups(
    candidates: Iterator[Candidates], fetch: Fetch, columns: tuple[str, ...]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows [M] and the first row [M] of each one's group, itself included: equal in all columns.

    Each group comes whole, ascending, its rows side by side; rows that equal no other are left out.
    """
    for chunk in candidates:
        rows, starts = chunk.rows, chunk.offsets[:-1]
        sizes = np.diff(chunk.offsets)
        while len(rows):
            firsts = np.repeat(rows[starts], sizes)
            same = equal_rows(rows, firsts, fetch, columns)
            group = np.repeat(np.arange(len(sizes)), sizes)
            alike = np.bincount(group[same], minlength=len(sizes))
            whole = same & (alike[group] > 1)
            if whole.any():
                yield rows[whole], firsts[whole]
            rows, group = rows[~same], group[~same]
            sizes = np.bincount(group)
            sizes = sizes[sizes > 0]
            starts = np.cumsum(sizes) - sizes


def equal_rows(rows: np.ndarray, others: np.ndarray, fetch: Fetch, columns: tuple[str, ...]) -> np.ndarray:
    """Bool [M]: whether a row and its other have equal values in these columns; null equals null."""
    same = np.ones(len(rows), bool)
    for start in range(0, len(rows), PIECE_ROWS):
        piece = slice(start, start + PIECE_ROWS)
        positions = np.unique(np.concatenate([rows[piece], others[piece]]))
        table = fetch(positions, columns)
        left = pa.array(np.searchsorted(positions, rows[piece]))
        right = pa.array(np.searchsorted(positions, others[piece]))
        for column in table.columns:
            values = column.combine_chunks()
            same[piece] &= _equal(values.take(left), values.take(right))
    return same


def _equal(left: pa.Array, right: pa.Array) -> np.ndarray:
    import pyarrow.compute as pc

    if pa.types.is_nested(left.type):
        return np.array([a == b for a, b in zip(left.to_pylist(), right.to_pylist(), strict=True)], bool)
    equal = pc.fill_null(pc.equal(left, right), False)
    both_missing = pc.and_(left.is_null(), right.is_null())
    found: np.ndarray = pc.or_(equal, both_missing).to_numpy(zero_copy_only=False)
    return found


def present_in(rows: np.ndarray, fetch: Fetch, columns: tuple[str, ...]) -> np.ndarray:
    """Bool [M]: whether any of these columns has a value."""
    found = np.zeros(len(rows), bool)
    for start in range(0, len(rows), PIECE_ROWS):
        piece = slice(start, start + PIECE_ROWS)
        positions = np.unique(rows[piece])
        table = fetch(positions, columns)
        any_there = np.logical_or.reduce([column.is_valid().to_numpy() for column in table.columns])
        found[piece] = any_there[np.searchsorted(positions, rows[piece])]
    return found
