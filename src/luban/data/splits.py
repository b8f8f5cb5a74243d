"""Which rows are for training, validation and test: drawn by hash, so that other rows do not matter.

Decided here: units (rows, or groups of rows that must stay together) are drawn by a hash of their name
and the seed: below `test` they are test rows, below `test + valid` validation rows. Where fewer than
30 units are to be expected in the smaller part (a small data set, a rare class), the draw would
be too rough; then quotas are filled by smallest hash, and training always gets something. By time, the
latest rows are the test, rows of one instant stay together, and a group goes to its latest part, so that
training never sees the future. Knows arrays only: no column, no file.
"""

from __future__ import annotations

import numpy as np

from luban.data.rows import mix

TRAIN, VALID, TEST = 0, 1, 2
NAMES = ("train", "valid", "test")
ENOUGH = 30
_PIECE = 1 << 20


def uniform(names: np.ndarray, seed: int) -> np.ndarray:
    """Numbers [N] float64 in [0, 1) drawn by names [N] uint64 and the seed."""
    salt = mix(np.array([seed % 2**64], np.uint64) + np.uint64(0x5851F42D4C957F2D))
    return (mix(mix(names) ^ salt) >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def roots(num_rows: int, edges: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray | None:
    """For each row the smallest position that it hangs together with, [N] int64; None without edges.

    An edge is (rows [M], others [M]). Labels are pushed along edges and then jumped until nothing
    changes: a few rounds, all on arrays.
    """
    edges = [(a, b) for a, b in edges if len(a)]
    if not edges:
        return None
    root = np.arange(num_rows, dtype=np.int64)
    changed = True
    while changed:
        changed = False
        for a, b in edges:
            low = np.minimum(root[a], root[b])
            for end in (a, b):
                # hang the root of each end below the smaller root
                tops = root[end]
                hung = low < tops
                if hung.any():
                    changed = True
                    np.minimum.at(root, tops[hung], low[hung])
        while True:
            jumped = root[root]
            if np.array_equal(jumped, root):
                break
            root = jumped
    return root


def draw(names: np.ndarray, sizes: np.ndarray, strata: np.ndarray, valid: float, test: float, seed: int) -> np.ndarray:
    """The part of each unit, [U] int8.

    `names` [U] uint64 are drawn by, `sizes` [U] are rows a unit, `strata` [U] int are class numbers
    from 0 (all 0 where nothing is stratified).
    """
    parts = np.empty(len(names), np.int8)
    for start in range(0, len(names), _PIECE):
        chance = uniform(names[start : start + _PIECE], seed)
        parts[start : start + _PIECE] = np.where(chance < test, TEST, np.where(chance < test + valid, VALID, TRAIN))
    smallest = min((share for share in (valid, test, 1 - valid - test) if share > 0), default=1.0)
    small = np.bincount(strata) * smallest < ENOUGH
    if valid + test == 0 or not small.any():
        return parts
    rough = np.flatnonzero(small[strata])
    order = rough[np.lexsort((names[rough], uniform(names[rough], seed), strata[rough]))]
    for members in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        parts[members] = _quotas(sizes[members].tolist(), valid, test)
    return parts


def _quotas(sizes: list[int], valid: float, test: float) -> np.ndarray:
    """Parts [U] of one stratum's units, in the order in which they are to be taken.

    A unit with more than half of all rows is training, or else the last unit is; from three units on
    the test, and from five on validation, gets at least one.
    """
    total, units = sum(sizes), len(sizes)
    parts = np.full(units, TRAIN, np.int8)
    free = [unit for unit in range(units) if sizes[unit] * 2 <= total]
    if len(free) == units:
        free = free[:-1]
    there = sum(sizes[unit] for unit in free)
    rows = min(total, there / (test + valid))  # an outsize unit leaves less than the shares ask for
    for part, share, least in ((TEST, test, 3), (VALID, valid, 5)):
        quota = max(round(share * rows), int(share > 0 and units >= least))
        left = quota
        taken = [unit for unit in free if sizes[unit] <= left and (left := left - sizes[unit]) >= 0]
        if quota and not taken and free:
            taken = [min(free, key=lambda unit: sizes[unit])]
        parts[taken] = part
        free = [unit for unit in free if parts[unit] == TRAIN]
    return parts


def by_time(instants: np.ndarray, valid: float, test: float, root: np.ndarray | None) -> np.ndarray:
    """Parts [N] int8 of rows at these instants [N] int64, none missing: the latest are the test.

    Boundaries lie between two instants, as near to the shares as they can. Raises ValueError if
    that leaves no row for training or test.
    """
    ordered = np.sort(instants)
    total = len(ordered)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))

    def boundary(rows_before: float) -> int:
        """The position of the first row at or after the boundary."""
        candidates = np.append(starts, total)
        return int(candidates[np.argmin(np.abs(candidates - rows_before))])

    first_test = boundary(total * (1 - test)) if test else total
    first_valid = min(boundary(total * (1 - test - valid)) if valid else first_test, first_test)
    if first_valid == 0 or (test and first_test == total):
        raise ValueError("all rows are of one instant, or nearly, so past and future cannot be told apart")
    parts = np.full(total, TRAIN, np.int8)
    for part, first in ((VALID, first_valid), (TEST, first_test)):
        if first < total:
            parts[instants >= ordered[first]] = part
    if root is not None:
        latest = np.zeros(len(root), np.int8)
        np.maximum.at(latest, root, parts)
        parts = latest[root]
    return parts
