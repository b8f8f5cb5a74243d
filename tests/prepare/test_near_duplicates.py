from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.schema import Column, Schema
from luban.errors import ConfigError
from luban.prepare import near_duplicates
from luban.prepare.base import Candidates, Decision
from luban.prepare.near_duplicates import NearDuplicates, best_bands
from luban.prepare.shingles import ShingleSets, shingles

SCHEMA = Schema(
    columns=(
        Column(name="title", type="text"),
        Column(name="text", type="text"),
        Column(name="size", type="category"),
        Column(name="label", type="category", role="target"),
    )
)


def jaccard(one: str, other: str, size: int = 5) -> float:
    """The definition, without any cleverness."""
    a, b = ({t[i : i + size] for i in range(max(len(t) - size + 1, 1))} for t in (one, other))
    return len(a & b) / len(a | b)


class Rows:
    """A `Fetch` over texts in memory that counts what it is asked."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self.table = pa.table({"text": pa.array(texts, pa.string())})
        self.num_rows = len(texts)
        self.asked = 0

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        assert (np.diff(rows) > 0).all()
        self.asked += 1
        return self.table.select(list(columns)).take(pa.array(rows))


def candidates(keys: np.ndarray, chunk_groups: int, order: np.random.Generator | None = None) -> Iterator[Candidates]:
    groups: dict[int, list[int]] = {}
    for row, column in np.argwhere(keys).tolist():
        groups.setdefault(int(keys[row, column]), []).append(row)
    found = [np.array(sorted(set(rows))) for _, rows in sorted(groups.items()) if len(rows) > 1]
    if order is not None:
        order.shuffle(found)
    for start in range(0, len(found), chunk_groups):
        part = found[start : start + chunk_groups]
        yield Candidates(np.concatenate(part), np.cumsum([0, *map(len, part)]))


def run(texts: Sequence[str | None], chunk_groups: int = 1000, order: Any = None, **config: Any) -> list[Decision]:
    step = NearDuplicates(NearDuplicates.Config(columns=("text",), **config))
    fetch = Rows(texts)
    keys = step.keys(fetch.table.to_batches()[0]) if texts else np.zeros((0, 1), np.uint64)
    return list(step.decide(candidates(keys, chunk_groups, order), fetch, SCHEMA))


def groups(decisions: Sequence[Decision]) -> dict[int, int]:
    return {int(r): int(o) for d in decisions for r, o in zip(d.rows, d.others, strict=True)}


def corpus(count: int, seed: int) -> list[str]:
    """Texts of which a third are copies of earlier ones with a few characters changed."""
    draw = np.random.default_rng(seed)
    texts: list[str] = []
    for _ in range(count):
        if texts and draw.random() < 0.35:
            letters = list(texts[draw.integers(len(texts))])
            for _ in range(draw.integers(0, 4)):
                letters[draw.integers(len(letters))] = chr(draw.integers(0x4E00, 0x4E80))
            texts.append("".join(letters))
        else:
            texts.append("".join(chr(c) for c in draw.integers(0x4E00, 0x4F00, draw.integers(20, 120))))
    return texts


def components(texts: Sequence[str], threshold: float) -> dict[int, int]:
    """Groups by the definition: all pairs."""
    first = list(range(len(texts)))
    for j in range(len(texts)):
        for i in range(j):
            if jaccard(texts[i], texts[j]) >= threshold:
                one, other = sorted((first[i], first[j]))
                first = [one if f == other else f for f in first]
    return {row: f for row, f in enumerate(first) if first.count(f) > 1}


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_sets_and_similarity_follow_the_definition(texts: list[str], size: int, tenths: int) -> None:
    sets = ShingleSets.of(pa.array(texts), size)
    expected = [len({t[i : i + size] for i in range(max(len(t) - size + 1, 1))}) for t in texts]
    assert sets.sizes.tolist() == expected
    left, right = np.divmod(np.arange(len(texts) ** 2), len(texts))
    alike = sets.alike(left, right, tenths / 5)
    for i, j, found in zip(left, right, alike, strict=True):
        assert found == (jaccard(texts[i], texts[j], size) >= tenths / 5), (texts[i], texts[j])


def test_characters_count_not_bytes() -> None:
    hashes, offsets = shingles(pa.array(["酒店位置很好", "hotels", "😀😀😀😀😀😀", "好"]), 5)
    assert np.diff(offsets).tolist() == [2, 2, 2, 1]
    assert len(set(hashes.tolist())) == 6


def test_a_sliced_array_gives_its_own_shingles() -> None:
    texts = pa.array(["abcdefgh", "酒店位置很好", "xyz", "hotels"])
    part, _ = shingles(texts.slice(1, 2), 5)
    whole, offsets = shingles(texts, 5)
    assert part.tolist() == whole[offsets[1] : offsets[3]].tolist()


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, (42, 3)), (0.8, (21, 6)), (0.9, (12, 10)), (1.0, (1, 128))])
def test_bands_follow_from_the_threshold(threshold: float, expected: tuple[int, int]) -> None:
    assert best_bands(threshold, 128, 0.99) == expected


def test_groups_are_those_of_all_pairs() -> None:
    texts = corpus(400, seed=3)
    expected = components(texts, 0.8)
    assert len(expected) > 100
    found = groups(run(texts))
    assert set(found.items()) <= set(expected.items()) or len(found) == len(expected)
    assert len(set(expected.items()) - set(found.items())) <= 0.02 * len(expected)


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_neither_chunks_nor_order_nor_budgets_change_groups(chunk_groups: int, seed: int, rows_at_once: int) -> None:
    texts = corpus(120, seed=5)
    expected = groups(run(texts))
    assert expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_duplicates, "ROWS_AT_FIRST", rows_at_once)
        patch.setattr(near_duplicates, "FETCH_BYTES", 2000)
        patch.setattr(near_duplicates, "SET_CHARS", 500)
        patch.setattr(near_duplicates, "PAIRS_AT_ONCE", 7)
        assert groups(run(texts, chunk_groups, np.random.default_rng(seed))) == expected


def test_keys_do_not_depend_on_the_batch() -> None:
    texts = [*corpus(300, seed=1), "", "好", None, "x" * 20_000]
    step = NearDuplicates(NearDuplicates.Config(columns=("text",)))
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    whole = step.keys(batch)
    for start, end in ((0, 1), (7, 140), (299, 304)):
        np.testing.assert_array_equal(step.keys(batch.slice(start, end - start)), whole[start:end])
    assert whole.shape == (304, 21)
    assert not whole[[300, 302]].any()
    assert whole[[0, 301, 303]].all()


def test_short_texts_are_copies_only_if_equal() -> None:
    assert groups(run(["好", "好", "好的", "", None, "", "ab", "abc"])) == {0: 0, 1: 0}


def test_drop_keeps_the_first_of_a_group() -> None:
    base = "酒店位置很好,房间干净,服务态度好,早餐种类多,下次来还会选择这里入住的,推荐给大家看看"
    texts = ["something else entirely, in English", base, base + "!", base[:-1], "好"]
    (decision,) = run(texts, action="drop")
    assert decision.action == "drop"
    assert decision.rows.tolist() == [2, 3]
    assert decision.others.tolist() == [1, 1]
    assert "80%" in decision.reason


def test_a_crowd_of_copies_is_linked_without_all_pairs() -> None:
    base = "".join(chr(c) for c in np.random.default_rng(0).integers(0x4E00, 0x5E00, 200))
    texts = [base[:i] + "一" + base[i + 1 :] for i in range(200)] * 5
    assert groups(run(texts)) == dict.fromkeys(range(1000), 0)


def test_a_crowd_of_lookalikes_is_not_compared_pair_by_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "CROWD", 4)
    draw = np.random.default_rng(0)
    texts = ["".join(chr(c) for c in draw.integers(0x4E00, 0x5E00, 50)) for _ in range(100)]
    crowd = Candidates(np.arange(100), np.array([0, 100]))
    compared = np.concatenate([pairs for _, pairs in near_duplicates._pairs(crowd)])
    assert len(np.unique(compared)) == len(compared) < 100 * 9
    texts[2] = texts[99][:-1]
    step = NearDuplicates(NearDuplicates.Config(columns=("text",)))
    (decision,) = step.decide(iter([crowd]), Rows(texts), SCHEMA)
    assert decision.rows.tolist() == [2, 99]


def test_a_text_of_a_million_characters() -> None:
    long = "".join(chr(c) for c in np.random.default_rng(0).integers(0x4E00, 0x9FA0, 1_000_000))
    assert groups(run([long, "短", long[:-20_000], "短"])) == {0: 0, 1: 1, 2: 0, 3: 1}


def test_columns_are_the_free_form_inputs_or_those_configured() -> None:
    assert NearDuplicates().columns(SCHEMA) == ("title", "text")
    assert NearDuplicates(NearDuplicates.Config(columns=("label",))).columns(SCHEMA) == ("label",)
    with pytest.raises(ConfigError, match=r"Did you mean `title`"):
        NearDuplicates(NearDuplicates.Config(columns=("titel",))).columns(SCHEMA)


def test_columns_are_joined_and_missing_values_are_empty() -> None:
    step = NearDuplicates()
    batch = pa.record_batch({"title": ["ab", "a", None, "", None], "text": ["c", "bc", "xyz", "xyz", None]})
    keys = step.keys(batch)
    assert (keys[0] != keys[1]).any()
    np.testing.assert_array_equal(keys[2], keys[3])
    assert not keys[4].any()
