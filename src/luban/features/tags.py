"""Several labels in one value: topics of an article, symptoms, interests. "a; b", "a|b", JSON lists, lists.

Decided here: labels are compared as text, as categories are, each once a value, in the order they stand in. An
empty cell is a value without labels or a missing one, as `empty` says; `[]` is always a value without labels.
As an input it gives a bag with one entry a label. What a bag's settings say of n-grams (`analyzer`,
`ngram_min`, `ngram_max`, `lowercase`, `sublinear`, `max_characters`) means nothing here and is not looked
at; `min_rows`, `max_terms`, `binary`, `idf` and `norm` are followed. A label that training never saw is left
out of the bag.

A column is taken for tags only where labels are short, come again, and values have one, two or more of them:
"Smith, John" and "Boston, MA" always have two, and a sentence's clauses do not come again.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from luban.catalog import Config
from luban.errors import BadValue
from luban.features.base import Encoder, EncoderState, Feature, Guess, Parts, Value
from luban.features.category import BUCKETS, Category
from luban.features.kinds import Arrays, BagConfig, Encoded, Kind

FIRST = 2
"""Entry of the first known label; 0 is nothing, 1 unknown and never given."""
_TWINS = {";": ";；", ",": ",，", "|": "|｜"}
_STRONG, _WEAK = ";；|｜、\n", ",，"
_TRIED = (";", "|", "、", "\n", ",")
_LONGEST, _MEAN = 40, 20
_AGAIN = 3
_SEVERAL = 0.15
_ONE = Category()


class TagBag(Encoder):
    """One entry a label. `vocabulary[i]` is entry i + 2, in order of strings.

    >>> bag = TagBag.fit([["b", "a"], ["a"]], BagConfig(min_rows=1, idf=False, norm="none"), 0, None)
    >>> bag.vocabulary, bag.encode([["a", "b", "c"], None]).parts["ids"].tolist()
    (['a', 'b'], [2, 3])
    """

    array_kind: ClassVar[Kind] = "bag"

    def __init__(self, config: BagConfig, vocabulary: list[str], idf: np.ndarray | None) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        self._idf = idf
        self._entries = {label: entry for entry, label in enumerate(vocabulary, FIRST)}

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> TagBag:
        """The most frequent labels, ties broken by string. `seed` is not used: nothing here is random."""
        assert isinstance(config, BagConfig)
        counts = Counter(label for value in values if value is not None for label in value)
        seen = counts
        if subjects is not None:
            pairs = {(label, s) for value, s in zip(values, subjects, strict=True) for label in value or ()}
            seen = Counter(label for label, _ in pairs)
        known = sorted((label for label in counts if seen[label] >= config.min_rows), key=lambda k: (-counts[k], k))
        vocabulary = sorted(known[: config.max_terms])
        idf = None
        if config.idf:
            rows = sum(value is not None for value in values)
            found = np.array([counts[label] for label in vocabulary], np.float64)
            idf = (np.log((1 + rows) / (1 + found)) + 1).astype(np.float32)
        return cls(config, vocabulary, idf)

    @classmethod
    def restore(cls, state: EncoderState) -> TagBag:
        """The encoder that gave `state`."""
        config = BagConfig.model_validate(state.json["config"])
        return cls(config, list(state.json["vocabulary"]), state.tensors.get("idf"))

    def state(self) -> EncoderState:
        """JSON `config` (what is followed of it) and `vocabulary`; tensor `idf` [V] float32 where it is used."""
        followed = {name: getattr(self.config, name) for name in ("min_rows", "max_terms", "binary", "idf", "norm")}
        about = {"config": followed, "vocabulary": self.vocabulary}
        return EncoderState(about, {} if self._idf is None else {"idf": self._idf}, personal=True)

    @property
    def size(self) -> int:
        """Known labels and two."""
        return FIRST + len(self.vocabulary)

    @property
    def entries(self) -> Sequence[str]:
        """The vocabulary."""
        return self.vocabulary

    def encode(self, values: Sequence[Value]) -> Encoded:
        """Bags of [B] lists: `ids` ascending within a row, `weights`, `offsets`, `present`."""
        find = self._entries.get
        rows = [sorted(e for label in value or () if (e := find(label)) is not None) for value in values]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.array([entry for row in rows for entry in row], np.int64)
        weights: np.ndarray = np.ones(len(ids)) if self._idf is None else self._idf[ids - FIRST].astype(np.float64)
        if self.config.norm == "l2":
            owner = np.repeat(np.arange(len(rows)), np.diff(offsets))
            weights /= np.sqrt(np.bincount(owner, weights * weights, len(rows)))[owner]
        present = np.array([value is not None for value in values], bool)
        parts: Arrays = {"ids": ids, "weights": weights.astype(np.float32), "offsets": offsets, "present": present}
        return Encoded(parts)


@dataclass(frozen=True)
class TagParts(Parts):
    """Labels, each a part."""

    def without(self, removed: Sequence[int]) -> Value:
        """The other labels; None if none is left."""
        if not removed:
            return self.value
        gone = set(removed)
        return [label for position, label in enumerate(self.names) if position not in gone] or None


class Tags(Feature):
    """A column of lists of labels; gives bags, one entry a label."""

    class Config(Feature.Config):
        """How labels stand in a value."""

        separator: str = Field("auto", min_length=1)
        """What stands between labels in text. auto: semicolons, bars, 、 or line breaks, else commas."""
        empty: Literal["none", "missing"] = "none"
        """What an empty cell of a target means: none: the row has no tag; missing: it was not labelled, so the row
        is set aside."""

    config: Config
    storage: ClassVar[pa.DataType] = pa.list_(pa.string())
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"bag": TagBag}
    targets: ClassVar[tuple[Any, ...]] = (["a", "b"], "a; c", "[]", "b", ["c", "a"], "c", "a", "b|c") * 5

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self.missing_is_value = self.config.empty == "none"

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Lists as JSON writes them; or short labels that come again, in values of one, two or more."""
        if not sample:
            return None
        lists = [_json_list(text) for text in sample]
        if all(found is not None for found in lists):
            return Guess(0.97, "lists")
        for separator in _TRIED:
            if reason := _several(sample, separator):
                return Guess(0.93, reason, {"separator": separator})
        return None

    def parse_value(self, raw: Any) -> Value:
        """The labels, each once; None where there is nothing. Raises BadValue for what is no list of labels."""
        pieces = self._pieces(raw)
        if pieces is None:
            return None
        labels = (self._label(piece) for piece in pieces)
        return list(dict.fromkeys(label for label in labels if label is not None))

    def _pieces(self, raw: Any) -> list[Any] | None:
        if isinstance(raw, (list, tuple)):
            return list(raw)
        if not isinstance(raw, str):
            return None if raw is None or raw != raw else [raw]
        text = raw.strip()
        if not text:
            return None
        found = _json_list(text)
        return found if found is not None else [piece.strip() for piece in _split(text, self.config.separator)]

    @staticmethod
    def _label(piece: Any) -> str | None:
        if isinstance(piece, (list, tuple, dict)):
            raise BadValue(f"holds a {type(piece).__name__}, not labels alone")
        label: str | None = _ONE.parse_value(piece)
        return label

    def is_plain(self, raw: Any, parsed: Value) -> bool:
        """Whether every label stood as it is kept, and once."""
        return parsed is None or [piece for piece in self._pieces(raw) or () if piece != ""] == parsed

    def parts(self, value: Value) -> TagParts:
        """The labels."""
        return TagParts(tuple(value or ()), value)

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`count`: labels; `bucket`: one of 65,536 by CRC-32 of all labels in order of strings."""
        counts = [np.nan if value is None else float(len(value)) for value in values]
        buckets = [
            np.nan if value is None else float(zlib.crc32("\n".join(sorted(value)).encode()) % BUCKETS)
            for value in values
        ]
        return {"count": np.array(counts, np.float64), "bucket": np.array(buckets, np.float64)}


def _split(text: str, separator: str) -> list[str]:
    """Text at a separator, half and full width alike.

    >>> _split("a，b; c", "auto"), _split("a, b", "auto")
    (['a，b', ' c'], ['a', ' b'])
    """
    if separator == "auto":
        any_of = _STRONG if any(mark in text for mark in _STRONG) else _WEAK
        return re.split(f"[{re.escape(any_of)}]", text)
    if separator in _TWINS:
        return re.split(f"[{re.escape(_TWINS[separator])}]", text)
    return text.split(separator)


def _json_list(text: str) -> list[Any] | None:
    """What a JSON list of plain values holds; None for other text."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    plain = isinstance(found, list) and not any(isinstance(item, (list, dict)) for item in found)
    return found if plain else None


def _several(sample: Sequence[str], separator: str) -> str | None:
    """Why values look like labels with this between them; None if they do not."""
    values = [[piece.strip() for piece in _split(text, separator) if piece.strip()] for text in sample]
    labels = Counter(label for value in values for label in value)
    sizes = Counter(map(len, values))
    total = sum(labels.values())
    if sum(count for size, count in sizes.items() if size > 1) < _SEVERAL * len(values) or len(sizes) < 2:
        return None
    if max(map(len, labels)) > _LONGEST or sum(len(k) * n for k, n in labels.items()) > _MEAN * total:
        return None
    if total < _AGAIN * len(labels) or len(labels) < 2 or all(re.fullmatch(r"[\d.\s%-]+", k) for k in labels):
        return None
    return f"{len(labels)} labels that come again, between them `{separator}`"
