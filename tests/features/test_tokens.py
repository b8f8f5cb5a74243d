import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.checks.tiny import tiny_tokenizer
from luban.errors import ConfigError
from luban.features.base import EncoderState
from luban.features.kinds import TokensConfig
from luban.features.tokens import Tokens

TEXTS = ["good not bad", "bad", "好吃 不", "a b c d e f g", None, "!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer().save(str(path / "tokenizer.json"))
    return path


def pretrained(folder: Path, max_tokens: int = 8) -> Tokens:
    config = TokensConfig.model_validate({"tokenizer": str(folder), "max_tokens": max_tokens})
    return Tokens.fit(TEXTS, config, 0, None)


def rows(tokens: Tokens, values: list) -> list[list[int]]:
    parts = tokens.encode(values).parts
    return [part.tolist() for part in np.split(parts["ids"], parts["offsets"][1:-1])]


def test_unknown_is_one_and_order_stays():
    tokens = Tokens.fit(["ba", "ab"], TokensConfig(), 0, None)
    assert tokens.entries == ["a", "b"]
    assert rows(tokens, ["abx", None, "ba"]) == [[2, 3, 1], [], [3, 2]]


def test_rare_entries_are_unknown_by_subjects():
    config = TokensConfig(analyzer="word", min_rows=2)
    assert Tokens.fit(["x y", "x", "y"], config, 0, ["ann", "bob", "ann"]).entries == ["x"]


def test_what_is_cut_is_counted():
    tokens = Tokens.fit(["abc"], TokensConfig(min_rows=1, max_tokens=2), 0, None)
    found = tokens.encode(["abc", "ab", None])
    assert found.cut == 1
    assert np.diff(found.parts["offsets"]).tolist() == [2, 2, 0]


def test_a_text_without_parts_is_an_empty_sequence():
    tokens = Tokens.fit(["one two"], TokensConfig(analyzer="word", min_rows=1), 0, None)
    found = tokens.encode(["?!", "one"])
    assert np.diff(found.parts["offsets"]).tolist() == [0, 1]
    assert found.parts["present"].tolist() == [True, True]


def test_a_pretrained_tokenizer_sets_its_marks_and_is_cut_between_them(folder):
    tokens = pretrained(folder, max_tokens=5)
    ids = tiny_tokenizer().get_vocab()
    found = tokens.encode(["good", "a b c d e f", None])
    assert found.cut == 1
    assert rows(tokens, ["good", "a b c d e f", None]) == [
        [ids["[CLS]"], ids["good"], ids["[SEP]"]],
        [ids["[CLS]"], ids["a"], ids["b"], ids["c"], ids["[SEP]"]],
        [],
    ]
    assert tokens.size == len(ids)


def test_a_text_of_which_the_tokenizer_leaves_nothing_is_empty(folder):
    assert rows(pretrained(folder), ["\u200b\x00", "good"])[0] == []


def test_the_state_needs_no_folder(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    tokens = pretrained(tmp_path / "copy")
    state = tokens.state()
    assert not state.personal
    assert str(tmp_path) not in json.dumps(state.json)
    shutil.rmtree(tmp_path / "copy")
    again = Tokens.restore(EncoderState(json.loads(json.dumps(state.json)), state.tensors, state.personal))
    assert again.state_fingerprint == tokens.state_fingerprint == pretrained(folder).state_fingerprint
    assert rows(again, TEXTS) == rows(pretrained(folder), TEXTS)


def test_padding_that_a_tokenizer_was_saved_with_is_left_out(folder, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.enable_padding(length=30)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert rows(pretrained(tmp_path), TEXTS) == rows(pretrained(folder), TEXTS)


@pytest.mark.parametrize(("content", "message"), [(None, "has none"), ("{", "is not a tokenizer")])
def test_a_folder_without_a_tokenizer_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        pretrained(tmp_path)


@pytest.mark.parametrize("own", [True, False])
@given(values=st.lists(st.none() | st.text(max_size=40), max_size=6))
@settings(max_examples=40, deadline=None)
def test_neighbours_change_nothing(folder, own, values):
    tokens = Tokens.fit(TEXTS, TokensConfig(max_tokens=7), 0, None) if own else pretrained(folder, 7)
    found = tokens.encode(values).parts
    assert found["mask"].all()
    assert np.diff(found["offsets"]).max(initial=0) <= 7
    assert ((found["ids"] >= 0) & (found["ids"] < tokens.size)).all()
    assert [row for value in values for row in rows(tokens, [value])] == (rows(tokens, values) if values else [])
