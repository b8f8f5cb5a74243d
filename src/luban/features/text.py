"""Free text: reviews, messages, descriptions, names.

Decided here: text is taken as it is (Unicode repair is a row step's work); nothing but white space is
missing. Its parts are words, single Chinese or kana characters, and runs of punctuation; a part brings
the white space after it along when it is taken away. It knows no language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import pairwise
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from luban.errors import BadValue
from luban.features.bag import NgramBag
from luban.features.base import Encoder, Feature, Guess, Parts, Value
from luban.features.characters import CJK, DIGIT, LETTER, SPACE, character_classes
from luban.features.kinds import Arrays, Kind
from luban.features.tokens import Tokens

MAX_PARTS = 512
"""More parts than these are joined to runs of equal length."""


@dataclass(frozen=True)
class TextParts(Parts):
    """Pieces of a text; `bounds[i]` to `bounds[i + 1]` is piece i with the white space after it."""

    bounds: tuple[int, ...] = field(default=())

    def without(self, removed: Sequence[int]) -> Value:
        """The text without these pieces; None if only white space is left."""
        gone = set(removed)
        kept = "".join(self.value[a:b] for i, (a, b) in enumerate(pairwise(self.bounds)) if i not in gone)
        return kept if kept.strip() else None


class Text(Feature):
    """A column of free text; gives bags of n-grams, and sequences of tokens."""

    storage: ClassVar[pa.DataType] = pa.string()
    free_form: ClassVar[bool] = True
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"bag": NgramBag, "tokens": Tokens}

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Anything can be text; sure of it where values are long or hardly ever repeat."""
        if not sample:
            return None
        length = fmean(map(len, sample))
        distinct = len(set(sample)) / len(sample)
        if length >= 40:
            return Guess(0.9, f"long: {length:.0f} characters on average")
        if distinct > 0.5 and length >= 12:
            return Guess(0.85, f"{distinct:.0%} distinct values, {length:.0f} characters on average")
        if distinct > 0.5:
            return Guess(0.7, f"{distinct:.0%} distinct values")
        return Guess(0.3, "anything can be text")

    def parse_value(self, raw: Any) -> Value:
        """The text as it is; numbers, truth values and times as Python writes them; None if blank."""
        if raw is None or raw != raw:  # NaN
            return None
        if not isinstance(raw, str | int | float | Decimal | date):
            raise BadValue(f"is a {type(raw).__name__}, not text")
        text = str(raw)
        if not text or text.isspace():
            return None
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadValue(f"holds half a surrogate pair at character {error.start}") from error
        return text

    def parts(self, value: Value) -> TextParts:
        """Words, Chinese characters and runs of punctuation, at most `MAX_PARTS`."""
        if value is None:
            return TextParts((), None, (0,))
        starts = _piece_starts(value)
        if len(starts) > MAX_PARTS:
            starts = starts[:: -(-len(starts) // MAX_PARTS)]
        bounds = [0, *starts[1:], len(value)]
        names = [value[a:b].strip() for a, b in pairwise(bounds)]
        return TextParts(tuple(names), value, tuple(bounds))

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`length` in characters; `cjk`, `digits`, `non_letters` as shares of all but white space."""
        lengths = np.array([np.nan if value is None else len(value) for value in values], np.float64)
        sizes = np.nan_to_num(lengths).astype(np.int64)
        joined = "".join(value for value in values if value is not None)
        classes = _classes(joined)
        rows = np.repeat(np.arange(len(values)), sizes)
        with np.errstate(invalid="ignore"):
            counts = {c: np.bincount(rows[classes == c], minlength=len(values)) for c in (LETTER, DIGIT, CJK, SPACE)}
            inked = np.where(np.isnan(lengths), np.nan, sizes - counts[SPACE])
            letters = counts[LETTER] + counts[CJK]
            return {
                "length": lengths,
                "cjk": counts[CJK] / inked,
                "digits": counts[DIGIT] / inked,
                "non_letters": 1 - letters / inked,
            }


def _classes(text: str) -> np.ndarray:
    return character_classes(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32))


def _piece_starts(text: str) -> list[int]:
    """Where a word, a run of punctuation or a Chinese character begins."""
    classes = _classes(text)
    classes[classes == DIGIT] = LETTER
    new = classes != SPACE
    new[1:] &= (classes[1:] == CJK) | (classes[1:] != classes[:-1])
    starts: list[int] = np.flatnonzero(new).tolist()
    return starts
