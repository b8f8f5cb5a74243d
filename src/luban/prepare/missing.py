"""What people write where there is nothing to write, as a missing value.

Decided here: only whole values count, white space at the ends and the case of A to Z aside. `words` mean "missing"
in every column. `doubtful` words can be values ("无" in a column of 有 and 无, "unknown" as a category), so
they count only in columns whose type cannot read them: numbers and times. NaN is missing. Text is
treated like all else: a review that says "N/A" says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from luban.prepare.base import RowStep

WORDS = ("", "na", "n/a", "#n/a", "#na", "<na>", "nan", "null", "\\n", "-", "--", "—", "——", "暂无", "暂无数据")
DOUBTFUL = ("none", "nil", "unknown", "missing", "?", ".", "/", "无", "没有", "未知", "不详", "未填", "缺失", "待定")


_SPACE = " \t\r\n\u00a0\u3000"
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class Missing(RowStep):
    """Turns words for "nothing" into missing values.

    >>> step = Missing()
    >>> step.value(" N/A "), step.value("无"), step.value("nana")
    (None, '无', 'nana')
    """

    types = None

    keeps_floats: ClassVar[bool] = True

    class Config(RowStep.Config):
        """Which words mean that a value is missing."""

        words: tuple[str, ...] = WORDS
        """Mean "missing" in every column; compared without case and without white space at the ends."""
        doubtful: tuple[str, ...] = DOUBTFUL
        """Mean "missing" only in columns whose type cannot read them."""

    config: Config

    def __init__(self, config: Config | None = None) -> None:
        super().__init__(config)
        self._words = frozenset(word.strip(_SPACE).translate(_LOWER) for word in self.config.words)
        self._longest = max((len(word) for word in self._words), default=0)
        self._set = pa.array(sorted(self._words), pa.string())

    def suited(self, readable: Callable[[str], bool]) -> RowStep:
        """The doubtful words that the column's type cannot read become sure ones; none stays doubtful."""
        sure = tuple(word for word in self.config.doubtful if not readable(word))
        return Missing(Missing.Config(words=(*self.config.words, *sure), doubtful=()))

    def value(self, raw: Any) -> Any:
        """None for a word that means "missing" and for NaN."""
        if isinstance(raw, str):
            word = raw.strip(_SPACE)
            return None if len(word) <= self._longest and word.translate(_LOWER) in self._words else raw
        return None if isinstance(raw, float) and math.isnan(raw) else raw

    def settled(self, values: pa.Array) -> pa.Array | None:
        """True for null, for numbers but NaN, and for text that is none of the words."""
        import pyarrow.compute as pc

        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            lowered = pc.ascii_lower(pc.utf8_trim(values, _SPACE))
            return pc.invert(pc.is_in(lowered, self._set.cast(values.type)))
        if pa.types.is_floating(values.type):
            return pc.fill_null(pc.invert(pc.is_nan(values)), True)
        return pa.array(np.ones(len(values), bool))
