"""The bag encoder: scikit-learn's answer, the same bits in any batch, the same vocabulary from any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.features import bag as bag_module
from luban.features import hashing, ngrams, terms
from luban.features.bag import NgramBag
from luban.features.base import EncoderState
from luban.features.kinds import BagConfig

PIECES = [
    "房间",
    "很干净",
    "服务 态度",
    "差",
    "！",
    "  ",
    "\t",
    "\n\n",
    "Hello",
    "WORLD",
    "İstanbul",
    "😀",
    "é",
    "42",
    "ΣΑΣ",
]
TEXTS = st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=1, max_size=12)
CONFIGS = st.builds(
    BagConfig,
    analyzer=st.just("char"),
    ngram_min=st.integers(1, 3),
    ngram_max=st.integers(3, 5),
    lowercase=st.booleans(),
    binary=st.booleans(),
    sublinear=st.booleans(),
    idf=st.booleans(),
    norm=st.sampled_from(["l2", "none"]),
    min_rows=st.integers(1, 2),
)


def dense(encoder: NgramBag, texts: list[str | None]) -> np.ndarray:
    parts = encoder.encode(texts).parts
    out = np.zeros((len(texts), encoder.size))
    rows = np.repeat(np.arange(len(texts)), np.diff(parts["offsets"]))
    out[rows, parts["ids"]] = parts["weights"]
    return out[:, 2:]


def vectorizer(config: BagConfig, **analyzer: str):
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(config.ngram_min, config.ngram_max),
        lowercase=config.lowercase,
        binary=config.binary,
        sublinear_tf=config.sublinear,
        use_idf=config.idf,
        norm=None if config.norm == "none" else config.norm,
        min_df=config.min_rows,
        **analyzer,
    )


def compare(config: BagConfig, train: list[str], test: list[str], **analyzer: str) -> None:
    encoder = NgramBag.fit(train, config, 0, None)
    peer = vectorizer(config, **analyzer)
    try:
        peer.fit(train)
    except ValueError:  # scikit-learn refuses an empty vocabulary
        assert encoder.vocabulary == []
        return
    assert encoder.vocabulary == sorted(peer.vocabulary_)
    np.testing.assert_allclose(dense(encoder, test), peer.transform(test).toarray(), atol=2e-6, rtol=2e-6)


@settings(max_examples=60, deadline=None)
@given(CONFIGS, TEXTS, TEXTS)
def test_characters_as_scikit_learn(config: BagConfig, train: list[str], test: list[str]) -> None:
    compare(config, train, test, analyzer="char")


@settings(max_examples=40, deadline=None)
@given(CONFIGS, TEXTS, TEXTS)
def test_words_as_scikit_learn(config: BagConfig, train: list[str], test: list[str]) -> None:
    words = config.model_copy(update={"analyzer": "word", "ngram_min": 1})
    # Lower case of İ has a combining dot: here part of the word, in scikit-learn's pattern the end of it.
    train, test = ([text.replace("İ", "I") for text in texts] for texts in (train, test))
    compare(words, train, test, token_pattern=r"(?u)[一-鿿]|[^\W_一-鿿]+")


@settings(max_examples=60, deadline=None)
@given(CONFIGS, TEXTS, st.sampled_from(["char", "word"]))
def test_same_bits_alone_and_in_a_batch(config: BagConfig, texts: list[str], analyzer: str) -> None:
    encoder = NgramBag.fit(texts, config.model_copy(update={"analyzer": analyzer}), 0, None)
    whole = encoder.encode([*texts, None]).parts
    for row, text in enumerate([*texts, None]):
        alone = encoder.encode([text]).parts
        here = slice(whole["offsets"][row], whole["offsets"][row + 1])
        assert np.array_equal(alone["ids"], whole["ids"][here])
        assert alone["weights"].tobytes() == whole["weights"][here].tobytes()
        assert alone["present"][0] == whole["present"][row] == (text is not None)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"第{i}条 review number {i % 7}" for i in range(50)] + [None, ""]
    encoder = NgramBag.fit(texts, BagConfig(max_characters=10), 0, None)
    whole = encoder.encode(texts)
    monkeypatch.setattr(bag_module, "_BLOCK", 7)
    blocks = encoder.encode(texts)
    assert whole.cut == blocks.cut == 50
    for name, part in whole.parts.items():
        assert np.array_equal(part, blocks.parts[name]), name


@settings(max_examples=25, deadline=None)
@given(TEXTS, st.randoms(), st.sampled_from(["char", "word"]))
def test_order_slices_and_pieces_change_no_vocabulary(texts: list[str], random, analyzer: str) -> None:
    config = BagConfig(analyzer=analyzer, min_rows=1)
    first = NgramBag.fit(texts, config, 0, None)
    shuffled = list(texts)
    random.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "MAX_KEYS", 16)
        patch.setattr(terms, "PIECE", 5)
        second = NgramBag.fit(shuffled, config, 1, None)
    assert first.state_fingerprint == second.state_fingerprint


def test_restored_is_the_same() -> None:
    texts = ["好吃 good", None, "不好吃", "good good"]
    for analyzer in ("char", "word"):
        for idf in (True, False):
            encoder = NgramBag.fit(texts, BagConfig(analyzer=analyzer, idf=idf, min_rows=1), 0, None)
            state = encoder.state()
            again = NgramBag.restore(EncoderState(state.json, state.tensors, state.personal))
            assert again.state_fingerprint == encoder.state_fingerprint
            assert state.personal
            assert np.array_equal(dense(again, texts), dense(encoder, texts))


def test_min_rows_counts_subjects() -> None:
    texts, people = ["a", "a", "b", "b"], ["x", "x", "x", "y"]
    config = BagConfig(min_rows=2, ngram_max=1)
    assert NgramBag.fit(texts, config, 0, None).vocabulary == ["a", "b"]
    assert NgramBag.fit(texts, config, 0, people).vocabulary == ["b"]
    assert NgramBag.fit(texts[::-1], config, 0, people[::-1]).vocabulary == ["b"]


def test_most_frequent_terms_are_kept_ties_by_string() -> None:
    texts = ["c b a", "c b", "c d"]
    config = BagConfig(analyzer="word", ngram_max=1, min_rows=1, max_terms=3)
    assert NgramBag.fit(texts, config, 0, None).vocabulary == ["a", "b", "c"]


@pytest.mark.parametrize("analyzer", ["char", "word"])
def test_nothing_to_learn_or_to_encode(analyzer: str) -> None:
    config = BagConfig(analyzer=analyzer)
    for texts in ([], [None, None], ["", "x"]):
        encoder = NgramBag.fit(texts, config, 0, None)
        assert encoder.size == 2
        assert encoder.encode(["x", None, ""]).parts["offsets"].tolist() == [0, 0, 0, 0]
    empty = encoder.encode([]).parts
    assert empty["offsets"].tolist() == [0]
    assert all(len(empty[name]) == 0 for name in ("ids", "weights", "present"))


def test_large_counts_and_long_texts() -> None:
    config = BagConfig(ngram_max=1, min_rows=1, idf=False, norm="none")
    encoder = NgramBag.fit(["ab"], config, 0, None)
    found = encoder.encode(["a" * 30_000])
    assert found.cut == 1
    assert found.parts["weights"].tolist() == pytest.approx([1 + np.log(20_000)])


@pytest.mark.parametrize("analyzer", ["char", "word"])
def test_terms_that_share_a_key_are_not_taken_for_one(analyzer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # With base 1 a key is the sum of its units: "ab" and "ba" collide, and so do "b a" and "a b".
    monkeypatch.setattr(ngrams, "BASE", np.uint64(1))
    texts = ["a b", "a b", "b a"]
    encoder = NgramBag.fit(texts, BagConfig(analyzer=analyzer, ngram_max=3, min_rows=1), 0, None)
    assert encoder.collisions > 0
    assert {"a", "b"} <= set(encoder.vocabulary)
    assert ("a b" in encoder.vocabulary) != ("b a" in encoder.vocabulary)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(0, 2**64 - 1), max_size=300), st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_hash_table_finds_what_is_there_and_nothing_else(known: set[int], others: list[int]) -> None:
    keys = np.array(sorted(known), np.uint64)
    table = hashing.HashTable(keys, first=2)
    asked = np.array([*known, *others], np.uint64)
    expected = {int(key): number for number, key in enumerate(keys, 2)}
    assert table.find(asked).tolist() == [expected.get(int(key), 0) for key in asked]


def test_hash_table_with_all_keys_in_one_place() -> None:
    inverse = pow(0x9E3779B97F4A7C15, -1, 2**64)
    keys = np.array([(2**64 - 1 - i) * inverse % 2**64 for i in range(40)], np.uint64)
    table = hashing.HashTable(keys[:20], first=2)
    assert table.find(keys).tolist() == [*range(2, 22), *[0] * 20]
