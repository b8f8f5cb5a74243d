"""The bag encoder: a text becomes weighted entries of a vocabulary of n-grams.

The answer is that of scikit-learn's TfidfVectorizer with the same vocabulary, made for whole batches by
array operations (`ngrams.py`) and a hash table (`hashing.py`). Decided here:

- entry 0 is "nothing", 1 is "unknown" and never given, known terms follow in order of strings;
- all weights come from tables and from sums taken in order of entries within a row, so a row's answer
  has the same bits alone and in any batch;
- the state holds the vocabulary as a JSON list of strings (term i is entry i + 2) and `idf` as a
  tensor: what another language needs to make the same bag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from luban.catalog import Config
from luban.features.base import Encoder, EncoderState, Value, subjects_or_rows
from luban.features.hashing import HashTable
from luban.features.kinds import BagConfig, Encoded, Kind, in_blocks
from luban.features.ngrams import Units, term_keys, units, window_keys
from luban.features.strings import Strings
from luban.features.terms import fit_terms

FIRST = 2
"""Entry of the first known term."""
_BLOCK = 4096
"""Rows that are encoded at once: more need memory and gain nothing."""
_TABLED = 4096
_LOGS = np.array([0.0, *(1.0 + math.log(count) for count in range(1, _TABLED))])


class NgramBag(Encoder):
    """n-grams of texts as a bag. `vocabulary[i]` is entry i + 2.

    >>> config = BagConfig(ngram_max=1, min_rows=1, idf=False, norm="none")
    >>> bag = NgramBag.fit(["好吃", "好"], config, 0, None)
    >>> list(bag.vocabulary)
    ['吃', '好']
    >>> bag.encode(["好好", None]).parts["ids"].tolist()
    [3]
    """

    array_kind: ClassVar[Kind] = "bag"

    def __init__(
        self, config: BagConfig, vocabulary: Sequence[str], idf: np.ndarray | None, collisions: int = 0
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = Strings(vocabulary)
        self.collisions = collisions
        """Terms left out at fit because they share a key with another."""
        self._idf = idf
        self._by_entry = np.concatenate([np.zeros(FIRST), idf.astype(np.float64)]) if idf is not None else None
        self._table = HashTable(term_keys(vocabulary, config), FIRST)

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> NgramBag:
        """The vocabulary of training texts and its idf. `seed` is not used: nothing here is random."""
        assert isinstance(config, BagConfig)
        present = [i for i, value in enumerate(values) if value is not None]
        owners = subjects_or_rows(values, subjects)[present]
        terms = fit_terms([values[i] for i in present], config, owners)
        idf = None
        if config.idf:
            idf = (np.log((1 + len(present)) / (1 + terms.rows)) + 1).astype(np.float32)
        return cls(config, terms.strings, idf, terms.collisions)

    @classmethod
    def restore(cls, state: EncoderState) -> NgramBag:
        """The encoder that gave `state`."""
        config = BagConfig.model_validate(state.json["config"])
        return cls(config, state.json["vocabulary"], state.tensors.get("idf"), state.json["collisions"])

    def state(self) -> EncoderState:
        """JSON `config`, `vocabulary`, `collisions`; tensor `idf` [V] float32 where it is used."""
        about = {"config": self.config.identity(), "vocabulary": list(self.vocabulary), "collisions": self.collisions}
        return EncoderState(about, {} if self._idf is None else {"idf": self._idf}, personal=True)

    @property
    def size(self) -> int:
        """Known terms and two."""
        return FIRST + len(self.vocabulary)

    @property
    def entries(self) -> Sequence[str]:
        """The vocabulary."""
        return self.vocabulary

    def encode(self, values: Sequence[Value]) -> Encoded:
        """Bags of [B] texts: `ids` ascending within a row, `weights`, `offsets`, `present`."""
        return in_blocks(values, _BLOCK, self._encode)

    def _encode(self, values: Sequence[Value]) -> Encoded:
        found = units(values, self.config)
        ids, rows, counts = self._count(found, len(values))
        weights = self._weigh(ids, rows, counts, len(values))
        offsets = np.zeros(len(values) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(values)), out=offsets[1:])
        present = np.array([value is not None for value in values], bool)
        return Encoded({"ids": ids, "weights": weights, "offsets": offsets, "present": present}, found.cut)

    def _count(self, found: Units, num_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries, rows and counts [N], by row and then by entry."""
        keys, sizes = window_keys(found.keys, self.config.ngram_min, self.config.ngram_max)
        entries = self._table.find(keys)
        hits = entries.nonzero()[0]
        pairs = entries[hits].astype(np.int64)
        shift = self.size.bit_length()
        if num_rows > 1:
            row_of = found.rows()
            pairs |= np.concatenate([row_of[:size] for size in sizes])[hits] << shift
        pairs.sort()
        bounds = np.ones(len(pairs) + 1, bool)
        np.not_equal(pairs[1:], pairs[:-1], out=bounds[1:-1])
        at = bounds.nonzero()[0]
        pairs = pairs[at[:-1]]
        return pairs & ((1 << shift) - 1), pairs >> shift, at[1:] - at[:-1]

    def _weigh(self, ids: np.ndarray, rows: np.ndarray, counts: np.ndarray, num_rows: int) -> np.ndarray:
        """Weights [N] float32. Sums run in order within a row (bincount), so neighbours change no bit."""
        if self.config.binary:
            weights = np.ones(len(counts))
        elif self.config.sublinear:
            weights = one_plus_log(counts)
        else:
            weights = counts.astype(np.float64)
        if self._by_entry is not None:
            weights *= self._by_entry[ids]
        if self.config.norm == "l2":
            lengths = np.sqrt(np.bincount(rows, weights * weights, minlength=num_rows))
            weights /= lengths[rows]
        return weights.astype(np.float32)


def one_plus_log(counts: np.ndarray) -> np.ndarray:
    """1 + ln(count) [N] float64, from a table, so that it never depends on where a count stands."""
    weights: np.ndarray = _LOGS[np.minimum(counts, _TABLED - 1)]
    for position in (counts >= _TABLED).nonzero()[0].tolist():
        weights[position] = 1.0 + math.log(counts[position])
    return weights
