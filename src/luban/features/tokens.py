"""The tokens encoder: a text becomes a sequence of entries of a vocabulary, in order.

Two ways, one encoder. *Its own vocabulary* of characters or words, cut as bags cut them (`ngrams.py`), fitted
on training rows: 0 is padding, 1 unknown, terms follow in order of strings. Or a *pretrained tokenizer*: the
`tokenizer.json` of a pretrained model, run by the library `tokenizers`; its entries are numbered as it was
trained, marks of beginning and end are its own. Decided here: the state holds the whole tokenizer, so a bundle
needs no file of the model that it came from; a missing value, and a text in which nothing is left to read,
is an empty sequence, also without marks. It knows no network.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from luban.catalog import Config
from luban.errors import ConfigError
from luban.features.base import Encoder, EncoderState, Value, subjects_or_rows
from luban.features.hashing import HashTable
from luban.features.kinds import BagConfig, Encoded, Kind, TokensConfig, in_blocks
from luban.features.ngrams import term_keys, units
from luban.features.terms import fit_terms

UNKNOWN, FIRST = 1, 2
"""Entries of a vocabulary of our own; 0 is padding."""
_BLOCK = 4096
"""Rows that are encoded at once."""
_MOST_CHARACTERS = 1 << 20
"""Of a text that a pretrained tokenizer is given: a token is never so long that this would cut it first."""
_CHARACTERS_PER_TOKEN = 64


class _Reader(Protocol):
    """Cuts texts into entries."""

    size: int

    def read(self, texts: Sequence[Value], limit: int) -> tuple[list[np.ndarray], int]:
        """At most `limit` entries [L] int64 of each text, and how many texts were cut."""
        ...

    def state(self) -> dict[str, Any]:
        """What it learnt, as JSON."""
        ...


class Tokens(Encoder):
    """Texts as sequences of entries.

    >>> tokens = Tokens.fit(["好吃", "好"], TokensConfig(min_rows=1), 0, None)
    >>> tokens.encode(["好吃!", None]).parts["ids"].tolist()
    [3, 2, 1]
    """

    array_kind: ClassVar[Kind] = "tokens"

    def __init__(self, config: TokensConfig, reader: _Reader) -> None:
        super().__init__()
        self.config: TokensConfig = config
        self._reader = reader

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> Tokens:
        """A vocabulary of training texts, or the tokenizer that is named. `seed` is not used."""
        assert isinstance(config, TokensConfig)
        if config.tokenizer is not None:
            return cls(config, _Pretrained(_tokenizer_json(config.tokenizer.folder)))
        present = [i for i, value in enumerate(values) if value is not None]
        owners = subjects_or_rows(values, subjects)[present]
        terms = fit_terms([values[i] for i in present], _as_bag(config), owners)
        return cls(config, _Vocabulary(terms.strings, config))

    @classmethod
    def restore(cls, state: EncoderState) -> Tokens:
        """The encoder that gave `state`."""
        config = TokensConfig.model_validate(state.json["config"])
        if "tokenizer" in state.json:
            return cls(config, _Pretrained(state.json["tokenizer"]))
        return cls(config, _Vocabulary(list(state.json["vocabulary"]), config))

    def state(self) -> EncoderState:
        """JSON `config`, and `vocabulary` (term i is entry i + 2) or `tokenizer` (tokenizer.json as it is)."""
        reader = self._reader.state()
        config = {k: v for k, v in self.config.identity().items() if k != "tokenizer"}
        if "tokenizer" in reader:
            config = {"max_tokens": self.config.max_tokens}
        return EncoderState({"config": config, **reader}, personal="vocabulary" in reader)

    @property
    def size(self) -> int:
        """Entries that `ids` can have: the largest and one."""
        return self._reader.size

    @property
    def entries(self) -> Sequence[str] | None:
        """The vocabulary, where it is of our own."""
        return self._reader.terms if isinstance(self._reader, _Vocabulary) else None

    def encode(self, values: Sequence[Value]) -> Encoded:
        """Sequences of [B] texts: flat `ids` and `mask` (all True), `offsets`, `present`."""
        return in_blocks(values, _BLOCK, self._encode)

    def _encode(self, values: Sequence[Value]) -> Encoded:
        rows, cut = self._reader.read(values, self.config.max_tokens)
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.concatenate([np.zeros(0, np.int64), *rows])
        present = np.array([value is not None for value in values], bool)
        return Encoded({"ids": ids, "mask": np.ones(len(ids), bool), "offsets": offsets, "present": present}, cut)


def _as_bag(config: TokensConfig) -> BagConfig:
    """The same cutting into units, as bags state it."""
    return BagConfig(
        analyzer=config.analyzer,
        ngram_min=1,
        ngram_max=1,
        lowercase=config.lowercase,
        min_rows=config.min_rows,
        max_terms=config.max_terms,
        max_characters=config.max_tokens * _CHARACTERS_PER_TOKEN,
    )


class _Vocabulary:
    """Characters or words of our own."""

    def __init__(self, terms: list[str], config: TokensConfig) -> None:
        self.terms = terms
        self.size = FIRST + len(terms)
        self._bag = _as_bag(config)
        self._table = HashTable(term_keys(terms, self._bag), FIRST)

    def read(self, texts: Sequence[Value], limit: int) -> tuple[list[np.ndarray], int]:
        """The first units of each text; what is not in the vocabulary is 1."""
        found = units(texts, self._bag)
        entries = self._table.find(found.keys).astype(np.int64)
        entries[entries == 0] = UNKNOWN
        starts = np.append(0, found.ends[:-1] + 1)[: len(texts)]
        lengths = found.ends - starts
        kept = np.minimum(lengths, limit)
        rows = [entries[a : a + n] for a, n in zip(starts.tolist(), kept.tolist(), strict=True)]
        return rows, max(int((lengths > limit).sum()), found.cut)

    def state(self) -> dict[str, Any]:
        """The terms in order."""
        return {"vocabulary": self.terms}


class _Pretrained:
    """A pretrained tokenizer."""

    def __init__(self, description: dict[str, Any]) -> None:
        from tokenizers import Tokenizer

        self._description = description
        self._tokenizer = Tokenizer.from_str(json.dumps(description))
        self.size = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0) + 1

    def read(self, texts: Sequence[Value], limit: int) -> tuple[list[np.ndarray], int]:
        """The first tokens of each text between the tokenizer's own marks, marks included in `limit`."""
        rows = [np.zeros(0, np.int64) for _ in texts]
        there = [position for position, text in enumerate(texts) if text is not None]
        asked = [texts[position][:_MOST_CHARACTERS] for position in there]
        cut = 0
        tokenizer = self._truncated(limit)
        for position, encoding in zip(there, tokenizer.encode_batch(asked), strict=True):
            if not all(encoding.special_tokens_mask):
                rows[position] = np.array(encoding.ids, np.int64)
            cut += bool(encoding.overflowing)
        return rows, cut

    def _truncated(self, limit: int) -> Any:
        # Set anew where it is another: an encoder has one limit all its life, so threads never disagree.
        if (self._tokenizer.truncation or {}).get("max_length") != limit:
            self._tokenizer.enable_truncation(limit)
        return self._tokenizer

    def state(self) -> dict[str, Any]:
        """The tokenizer's own JSON."""
        return {"tokenizer": self._description}


def _tokenizer_json(folder: Path) -> dict[str, Any]:
    """`tokenizer.json` of a folder, without the truncation and padding it was saved with."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            f"A pretrained tokenizer must be a file `tokenizer.json`, but `{folder}` has none.",
            "Save the model's tokenizer with `AutoTokenizer.from_pretrained(…).save_pretrained(…)`.",
        )
    try:
        description: dict[str, Any] = json.loads(path.read_text("utf-8"))
        _Pretrained({**description, "truncation": None, "padding": None})
    except Exception as error:  # the library raises Exception itself
        raise ConfigError(f"`{path}` is not a tokenizer: {error}.", "Get the file again.") from error
    return {**description, "truncation": None, "padding": None}
