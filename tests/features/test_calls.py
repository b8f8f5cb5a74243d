import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.features.calls import MAX_ENTRIES, MAX_PAIRS, MAX_ROWS, MAX_TOKENS, SPARE_SHARE, SPARE_TOKENS, chunks


def ragged(lengths: list[int], kind: str) -> dict[str, np.ndarray]:
    """A block of lists of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    beside = {"tokens": "mask", "bag": "weights"}[kind]
    flat = np.zeros(int(offsets[-1]), np.int8)
    parts = {"ids": flat, beside: flat, "offsets": offsets, "present": np.ones(len(lengths), bool)}
    return {f"t/{kind}/f.{name}": array for name, array in parts.items()}


@pytest.mark.parametrize("kind", ["tokens", "bag"])
@given(lengths=st.lists(st.sampled_from([0, 1, 7, 300, 3000]), max_size=200))
@settings(max_examples=40, deadline=None)
def test_every_row_once_and_no_call_too_large(kind, lengths):
    calls = list(chunks(ragged(lengths, kind)))
    assert sorted(row for call in calls for row in call.tolist()) == list(range(len(lengths)))
    for call in calls:
        longest = max(lengths[row] for row in call.tolist())
        assert len(call) <= MAX_ROWS
        assert len(call) == 1 or len(call) * longest <= MAX_ENTRIES
        if kind == "tokens" and len(call) > 1:
            assert len(call) * longest <= MAX_TOKENS
            assert len(call) * longest**2 <= MAX_PAIRS


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
@settings(deadline=None)
def test_sequences_are_asked_with_others_of_like_length(lengths):
    groups = [[lengths[row] for row in rows] for rows in chunks(ragged(lengths, "tokens"))]
    assert sorted(length for group in groups for length in group) == sorted(lengths)
    for group in groups:
        longest = max(group)
        padding = longest * len(group) - sum(group)
        assert padding <= SPARE_TOKENS + SPARE_SHARE * longest * len(group)
        assert len(group) == 1 or longest * len(group) <= MAX_TOKENS
    if len({*lengths}) == 1 and len(lengths) * lengths[0] <= MAX_TOKENS:
        assert len(groups) == 1
