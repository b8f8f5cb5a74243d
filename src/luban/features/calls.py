"""Which rows go into one call of a graph: alike in length, and no more than stay near the processor.

Decided here: a call is bounded by its padded entries, by its rows, and, where it reads tokens, by what attention
makes of them; sequences of tokens are put together only where padding the shorter ones costs less than a call of
their own. The limits were measured, each beside its figure. Knows no graph, no column type and no family.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from luban.features.kinds import Arrays, num_rows

MAX_ENTRIES = 1 << 15
"""Padded entries (rows times longest row) of one call of a graph. Trees over a bag project each entry to 64 figures,
8 MB a call: near the processor. 2,000 reviews in calls of 2²⁰ take twice as long, and 590 MB in place of 90."""
MAX_ROWS = 1024
"""Rows of one call, however short."""
MAX_TOKENS = 1 << 11
"""Padded entries of a call that reads tokens: a network keeps some thousand figures for each, and is several times
as fast while they stay near the processor (twelve layers of 384: 87 GFLOP/s in calls of 2¹¹, 28 of 2¹⁴)."""
MAX_PAIRS = 1 << 22
"""Rows times the square of the longest sequence of tokens: attention makes as many figures a head."""
SPARE_TOKENS = 16
"""Padding that costs as much as another call of a graph of tokens (two layers of 128: 70 µs a call, 6 µs an entry)."""
SPARE_SHARE = 0.05
"""Padding that is borne beside that, as a share of the entries of the call."""


def chunks(arrays: Arrays) -> Iterator[np.ndarray]:
    """Positions of the rows of each call of a graph: alike in length, so that padding stays small.

    All positions come once; one call when all rows fit. Sequences of tokens are put together only where
    padding the shorter ones costs less than a call of their own.
    """
    count = num_rows(arrays)
    lengths, tokens = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for name, array in arrays.items():
        if name.endswith(".offsets"):
            lengths = np.maximum(lengths, np.diff(array))
            if name.removesuffix("offsets") + "mask" in arrays:
                tokens = np.maximum(tokens, np.diff(array))
    for rows in _fitting(count, lengths, tokens):
        yield from _alike(rows, tokens) if len(rows) > 1 and tokens.any() else (rows,)


def _fitting(count: int, lengths: np.ndarray, tokens: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of as many as one call may have."""
    if count <= MAX_ROWS and _fits(count, lengths, tokens):
        if count:
            yield np.arange(count)
        return
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < count:
        stop = min(start + MAX_ROWS, count)
        while stop > start + 1 and not _fits(stop - start, lengths[order[start:stop]], tokens[order[start:stop]]):
            stop = start + max((stop - start) // 2, 1)
        yield order[start:stop]
        start = stop


def _alike(rows: np.ndarray, tokens: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in groups from the longest sequence down; each is padded by little."""
    ordered = rows[np.argsort(-tokens[rows], kind="stable")]
    found = tokens[ordered].tolist()
    if found[0] == found[-1]:
        yield rows
        return
    start = padding = 0
    for at, length in enumerate(found):
        padding += found[start] - length
        if padding > SPARE_TOKENS + SPARE_SHARE * found[start] * (at - start + 1):
            yield ordered[start:at]
            start, padding = at, 0
    yield ordered[start:]


def _fits(rows: int, lengths: np.ndarray, tokens: np.ndarray) -> bool:
    longest, longest_tokens = int(lengths.max(initial=0)), int(tokens.max(initial=0))
    tokens_fit = rows * longest_tokens <= MAX_TOKENS and rows * longest_tokens**2 <= MAX_PAIRS
    return rows * longest <= MAX_ENTRIES and tokens_fit
