"""The closed set of array kinds between column types and model families.

    kind    parts                                           for instance
    index   value [B] int64: 0 missing, 1 unknown, then known    one of n
    vector  value [B, D] float32                            numbers, embeddings
    bag     ids [B, L] int64, weights [B, L] float32        n-grams, multi-hot
    tokens  ids [B, L] int64, mask [B, L] bool              text, item sequences
    pixels  value [B, C, H, W] float32, mask [B, H, W]      images
    series  value [B, T, C] float32, mask [B, T]            sensors, boxes

Every array also has `present` [B] bool. Arrays are named `<column>/<kind>/<fingerprint>.<part>`
(`Block.part`). Decided here: in bulk, lists of unequal length are *ragged*, flat parts [N] and
`offsets` [B + 1] int64, and are padded with zeros only at a graph's door (`pad`); so one long text
does not cost every other row its length. Entry 0 of a bag means "nothing": its weight is 0. Tokens are
ragged in the same way: flat `ids`, a flat `mask` of True, `offsets`; padding is where the mask is False.
Which rows go through a graph's door together is said in `calls`.

What a family wants is data: `Want(kind, config)`. This module knows no column type and no family.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import Field

from luban.catalog import Config, searchable
from luban.features.pretrained import PretrainedFiles

Kind = Literal["index", "vector", "bag", "tokens", "pixels", "series"]
Arrays = dict[str, np.ndarray]

PARTS: dict[Kind, tuple[str, ...]] = {
    "index": ("value",),
    "vector": ("value",),
    "bag": ("ids", "weights"),
    "tokens": ("ids", "mask"),
    "pixels": ("value", "mask"),
    "series": ("value", "mask"),
}


class IndexConfig(Config):
    """How values become one of n."""

    max_values: int = Field(10_000, ge=1)
    """The most frequent values that are known; the rest are unknown."""
    min_rows: int = Field(2, ge=1)
    """A value seen in fewer training rows (subjects, where there are any) is unknown."""


class VectorConfig(Config):
    """How values become numbers."""

    scale: Literal["none", "standard", "quantile"] = "standard"
    """none: as they are; standard: zero mean and unit variance on training rows, missing at 0;
    quantile: ranks of training rows mapped to [-1, 1], for long tails."""
    missing: Literal["mean", "nan"] = "mean"
    """mean: the training mean and a column that says missing; nan: NaN, for trees."""


class BagConfig(Config):
    """How values become weighted entries of a vocabulary (n-grams, one-hot, multi-hot)."""

    analyzer: Literal["char", "word"] = searchable("char")
    """char: characters, white space folded; word: words, and Chinese characters one by one."""
    ngram_min: int = Field(1, ge=1, le=8)
    """Shortest n-gram."""
    ngram_max: int = searchable(4, 1, 6, ge=1, le=8)
    """Longest n-gram."""
    lowercase: bool = True
    """Fold case first."""
    binary: bool = False
    """Count each entry once a row."""
    sublinear: bool = True
    """1 + ln(count) in place of the count."""
    idf: bool = True
    """Weigh by ln((1 + n) / (1 + df)) + 1 over training rows."""
    norm: Literal["l2", "none"] = "l2"
    """l2: each row has unit length."""
    min_rows: int = Field(2, ge=1)
    """An n-gram seen in fewer training rows (subjects, where there are any) is left out."""
    max_terms: int = Field(500_000, ge=1)
    """The most frequent entries that are kept."""
    max_characters: int = Field(20_000, ge=1)
    """Characters of a value that are read; what is cut is counted."""


class TokensConfig(Config):
    """How values become sequences of entries of a vocabulary, in order."""

    analyzer: Literal["char", "word"] = "char"
    """char: characters, white space folded; word: words, and Chinese characters one by one."""
    tokenizer: PretrainedFiles | None = None
    """A pretrained tokenizer in place of `analyzer`: a folder that holds `tokenizer.json`, or a name on a hub."""
    lowercase: bool = True
    """Fold case first; a pretrained tokenizer does as it was trained."""
    min_rows: int = Field(2, ge=1)
    """An entry seen in fewer training rows (subjects, where there are any) is unknown."""
    max_terms: int = Field(20_000, ge=1)
    """The most frequent entries that are known."""
    max_tokens: int = Field(256, ge=1)
    """Entries of a value that are read; what is cut is counted."""


CONFIGS: dict[Kind, type[Config]] = {
    "index": IndexConfig,
    "vector": VectorConfig,
    "bag": BagConfig,
    "tokens": TokensConfig,
}
"""The settings of each kind that is built; the others are reserved."""


@dataclass(frozen=True)
class Want:
    """What a family asks of a column: a kind of array and how it is to be made."""

    kind: Kind
    config: Config


@dataclass(frozen=True)
class Block:
    """One named array as a family sees it.

    `size` is the number of entries of an index, bag or vocabulary of tokens (with 0 missing and 1
    unknown, but for pretrained tokenizers, which number as they were trained), or the width of a
    vector. `column` is where it came from, for explanation. `entries` are the strings that entries from 2 on
    stand for, where they are strings: what tells that two vocabularies mean the same.
    """

    name: str
    kind: Kind
    column: str
    size: int
    entries: Sequence[str] | None = field(default=None, compare=False, repr=False)

    def part(self, part: str) -> str:
        """Full name of one part: `text/bag/1a2b3c4d.ids`."""
        return f"{self.name}.{part}"

    @property
    def parts(self) -> tuple[str, ...]:
        """Full names of the parts that a graph takes, without `present` and `offsets`."""
        return tuple(self.part(part) for part in PARTS[self.kind])


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives for a batch: parts by short name, and how many values were cut."""

    parts: Arrays
    cut: int = 0

    def named(self, block: Block) -> Arrays:
        """The same arrays under their full names."""
        return {block.part(part): array for part, array in self.parts.items()}


@dataclass
class _Group:
    """The arrays that share one block name."""

    flat: list[str] = field(default_factory=list)
    offsets: str = ""


def _groups(arrays: Arrays) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for name in arrays:
        block, _, part = name.rpartition(".")
        if part == "offsets":
            groups.setdefault(block, _Group()).offsets = name
    for name in arrays:
        block, _, part = name.rpartition(".")
        if block in groups and part not in ("offsets", "present"):
            groups[block].flat.append(name)
    return groups


def num_rows(arrays: Arrays) -> int:
    """The number of rows B that these arrays hold."""
    for name, array in arrays.items():
        if name.endswith(".present"):
            return len(array)
    raise AssertionError("arrays without a `present` part")


def pad(arrays: Arrays) -> Arrays:
    """Ragged parts as zero-padded [B, L]; `offsets` and `present` are left out.

    >>> a = {"t/bag/f.ids": np.array([4, 5, 6]), "t/bag/f.offsets": np.array([0, 1, 3])}
    >>> pad(a)["t/bag/f.ids"].tolist()
    [[4, 0], [5, 6]]
    """
    groups = _groups(arrays)
    ragged = {name: group.offsets for group in groups.values() for name in group.flat}
    padded: Arrays = {}
    for name, array in arrays.items():
        if name.endswith((".offsets", ".present")):
            continue
        padded[name] = _pad_one(array, arrays[ragged[name]]) if name in ragged else array
    return padded


def _pad_one(flat: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    lengths = np.diff(offsets)
    if len(lengths) == 1:
        return flat.reshape(1, -1) if len(flat) else np.zeros((1, 1), flat.dtype)
    width = max(int(lengths.max(initial=0)), 1)
    out = np.zeros((len(lengths), width), flat.dtype)
    out[np.arange(width) < lengths[:, None]] = flat
    return out


def take(arrays: Arrays, rows: np.ndarray) -> Arrays:
    """The given rows (positions [M] int64) of all arrays, ragged ones included."""
    groups = _groups(arrays)
    ragged = {name: group.offsets for group in groups.values() for name in group.flat}
    out: Arrays = {}
    for name, array in arrays.items():
        if name in ragged:
            offsets = arrays[ragged[name]]
            lengths = np.diff(offsets)[rows]
            starts = np.repeat(offsets[:-1][rows], lengths)
            within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
            out[name] = array[starts + within]
        elif name.endswith(".offsets"):
            out[name] = np.concatenate([[0], np.cumsum(np.diff(array)[rows])]).astype(np.int64)
        else:
            out[name] = array[rows]
    return out


def concatenate(batches: Sequence[Arrays]) -> Arrays:
    """Batches of the same arrays, one after another."""
    first = batches[0]
    out: Arrays = {}
    for name in first:
        pieces = [batch[name] for batch in batches]
        if name.endswith(".offsets"):
            lengths = np.concatenate([np.diff(piece) for piece in pieces])
            out[name] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        else:
            out[name] = np.concatenate(pieces)
    return out


def in_blocks(values: Sequence[object], rows: int, encode: Callable[[Sequence[object]], Encoded]) -> Encoded:
    """`encode` of so many values at a time, so that what it needs meanwhile stays small; as if of all at once."""
    blocks = [encode(values[start : start + rows]) for start in range(0, max(len(values), 1), rows)]
    if len(blocks) == 1:
        return blocks[0]
    parts = concatenate([{f".{name}": part for name, part in block.parts.items()} for block in blocks])
    return Encoded({name[1:]: part for name, part in parts.items()}, sum(block.cut for block in blocks))
