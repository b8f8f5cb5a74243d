"""N-grams of many texts at once: texts become units, runs of units become 64-bit keys.

A *unit* is a character (white space folded as scikit-learn's char analyzer does: a run of two or more
becomes one space) or a word. All texts of a batch lie in one array, each closed by a mark that no text
can hold, so that a window over two texts has a key that no n-gram has. Keys are polynomials modulo
2**64 in an odd base: key(n)[i] = key(n - 1)[i] * BASE + unit[i + n - 1]. They are the same on every
machine and for every batch. Two n-grams share a key by chance only, about once in 2**64 pairs; `terms.py`
checks that no two entries of a vocabulary do.

This module does not know vocabularies, weights or columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from luban.features.characters import CJK, DIGIT, LETTER, character_classes
from luban.features.kinds import BagConfig

BASE = np.uint64(0xD6E8FEB86659FD93)
_INVERSE = np.uint64(pow(0xD6E8FEB86659FD93, -1, 1 << 64))
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_END = 0x110000
"""Closes a text: one above the last code point."""
_SPACES = re.compile(r"\s\s+")
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Units:
    """The units of a batch of texts.

    `keys` [U] uint64, one per unit and one per end of text; `ends` [B] int64: where each text's end
    mark stands; `codes` [C] uint32 code points; `starts`, `stops` [U] int64: each unit's place in `codes`
    (None: unit i is code i). `cut` counts texts that were longer than allowed.
    """

    keys: np.ndarray
    ends: np.ndarray
    codes: np.ndarray
    starts: np.ndarray | None
    stops: np.ndarray | None
    cut: int

    def rows(self) -> np.ndarray:
        """The text [U] int64 that each unit belongs to; an end mark belongs to the text it closes."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=-1))

    def names(self) -> np.ndarray:
        """A number [U] per unit, the same for the same characters alone: no key is trusted here."""
        if self.starts is None:
            return self.codes
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(word, len(numbers)) for word in self._all_words()], np.int64)

    def _all_words(self) -> list[str]:
        assert self.starts is not None
        assert self.stops is not None
        bounds = zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        text = self.codes.copy()
        text[text == _END] = 0
        whole = text.tobytes().decode("utf-32-le", "surrogatepass")
        return [whole[a:b] for a, b in bounds]

    def strings(self, first: np.ndarray, lengths: np.ndarray) -> list[str]:
        """The n-grams of `lengths` [M] units that begin at units `first` [M], words joined by one space."""
        if self.starts is None:
            return _char_strings(self.codes, first, lengths)
        words = self._all_words()
        return [" ".join(words[i : i + n]) for i, n in zip(first.tolist(), lengths.tolist(), strict=True)]


def _char_strings(codes: np.ndarray, first: np.ndarray, lengths: np.ndarray) -> list[str]:
    out: list[str] = [""] * len(first)
    for n in np.unique(lengths).tolist():
        where = np.flatnonzero(lengths == n)
        flat = codes[first[where][:, None] + np.arange(n)].tobytes().decode("utf-32-le", "surrogatepass")
        for i, position in enumerate(where.tolist()):
            out[position] = flat[i * n : i * n + n]
    return out


def units(texts: Sequence[str | None], config: BagConfig) -> Units:
    """The units of these texts, as `config` asks; None is an empty text."""
    limit = config.max_characters
    cut = sum(1 for text in texts if text is not None and len(text) > limit)
    whole = ["" if text is None else text[:limit] for text in texts]
    if config.lowercase:
        whole = [text.lower() for text in whole]
    if config.analyzer == "word":
        return _words(*_codes(whole), cut)
    folded = [_SPACES.sub(" ", text) for text in whole]
    codes, ends = _codes(folded)
    return Units(codes + _ONE, ends, codes, None, None, cut)


def _codes(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Code points of all texts, each closed by the end mark, and where the marks stand."""
    joined = "\0".join(texts) + "\0" if texts else ""
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).copy()
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64) - 1
    codes[ends] = _END
    return codes, ends


def _words(codes: np.ndarray, ends: np.ndarray, cut: int) -> Units:
    """Words are runs of letters, marks and digits; a Chinese or kana character is a word by itself."""
    classes = character_classes(codes)
    alone = classes == CJK
    alone[ends] = True
    inside = (classes == LETTER) | (classes == DIGIT)
    before = np.zeros(len(codes), bool)
    before[1:] = inside[:-1]
    after = np.zeros(len(codes), bool)
    after[:-1] = inside[1:]
    starts = np.flatnonzero(alone | (inside & ~before))
    stops = np.flatnonzero(alone | (inside & ~after)) + 1
    keys = _run_keys(codes, starts, stops)
    new_ends = np.searchsorted(starts, ends)
    return Units(keys, new_ends, codes, starts, stops, cut)


def _run_keys(codes: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Polynomial key of each run codes[start:stop], by differences of one running sum."""
    up, down = _powers(len(codes).bit_length())
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum((codes + _ONE) * down[: len(codes)], out=sums[1:])
    keys: np.ndarray = (sums[stops] - sums[starts]) * up[stops - 1]
    keys ^= keys >> np.uint64(31)
    keys *= _MIX
    keys |= _ONE
    return keys


@lru_cache(maxsize=4)
def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """BASE**i and BASE**-i modulo 2**64 for i below 2**bits."""
    up = np.full(1 << bits, BASE, np.uint64)
    down = np.full(1 << bits, _INVERSE, np.uint64)
    up[0] = down[0] = 1
    return np.multiply.accumulate(up), np.multiply.accumulate(down)


def window_keys(keys: np.ndarray, ngram_min: int, ngram_max: int) -> tuple[np.ndarray, list[int]]:
    """The keys of all windows of `ngram_min` to `ngram_max` units, one n after another.

    Gives the keys [sum of sizes] and, per n, the number of windows (U - n + 1): window i of each n begins
    at unit i. Windows over an end mark are included.
    """
    sizes = [max(len(keys) - n + 1, 0) for n in range(1, ngram_max + 1)]
    flat = np.empty(sum(sizes), np.uint64)
    flat[: sizes[0]] = previous = keys
    at = sizes[0]
    for n, size in enumerate(sizes[1:], 2):
        current = flat[at : at + size]
        np.multiply(previous[:-1], BASE, out=current)
        current += keys[n - 1 :]
        previous, at = current, at + size
    return flat[sum(sizes[: ngram_min - 1]) :], sizes[ngram_min - 1 :]


_BLOCK = 1 << 13
"""Terms whose keys are made at once: more would leave large tables of powers behind."""


def term_keys(terms: Sequence[str], config: BagConfig) -> np.ndarray:
    """The keys [V] uint64 of n-grams as strings (as `Units.strings` gives them)."""
    strings = list(terms)
    blocks = [_term_keys(strings[start : start + _BLOCK], config) for start in range(0, len(strings), _BLOCK)]
    return np.concatenate([np.zeros(0, np.uint64), *blocks])


def _term_keys(terms: list[str], config: BagConfig) -> np.ndarray:
    codes, ends = _codes(terms)
    found = _words(codes, ends, 0) if config.analyzer == "word" else Units(codes + _ONE, ends, codes, None, None, 0)
    first = np.append(0, found.ends[:-1] + 1)[: len(terms)]
    lengths = found.ends - first
    flat, sizes = window_keys(found.keys, 1, config.ngram_max)
    starts = np.append(0, np.cumsum(sizes))
    keys: np.ndarray = flat[starts[lengths - 1] + first]
    return keys
