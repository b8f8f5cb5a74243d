"""One of few values: a city, a status, a label.

Decided here: values are compared as text, written in one way whatever they came from, so that `1`, `1.0`
(JSON, Excel) and "1.0" (CSV) are one value, and so are `true`, `True` and "TRUE". Case is kept otherwise.
Known values stand in order of strings.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import fmean
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from luban.catalog import Config
from luban.errors import BadValue
from luban.features.base import Encoder, EncoderState, Feature, Guess, Parts, Value
from luban.features.kinds import Arrays, Encoded, IndexConfig, Kind

MISSING, UNKNOWN, FIRST = 0, 1, 2
BUCKETS = 1 << 16
_WHOLE = re.compile(r"([-+]?[0-9]+)\.0+")
_TRUTH = {"true", "false"}


class CategoryIndex(Encoder):
    """Values as numbers: 0 missing, 1 unknown, `values[i]` is i + 2.

    >>> index = CategoryIndex.fit(["b", "a", "b", None], IndexConfig(min_rows=1), 0, None)
    >>> index.encode(["a", "b", "c", None]).parts["value"].tolist()
    [2, 3, 1, 0]
    """

    array_kind: ClassVar[Kind] = "index"

    def __init__(self, config: IndexConfig, values: list[str]) -> None:
        super().__init__()
        self.config = config
        self.values = values
        self._numbers: dict[Value, int] = {value: number for number, value in enumerate(values, FIRST)}
        self._numbers[None] = MISSING

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> CategoryIndex:
        """The most frequent values, ties broken by string. `seed` is not used: nothing here is random."""
        assert isinstance(config, IndexConfig)
        counts = Counter(value for value in values if value is not None)
        if subjects is None:
            seen: Counter[Value] = counts
        else:
            pairs = {(v, s) for v, s in zip(values, subjects, strict=True) if v is not None}
            seen = Counter(value for value, _ in pairs)
        known = [value for value in counts if seen[value] >= config.min_rows]
        known.sort(key=lambda value: (-counts[value], value))
        return cls(config, sorted(known[: config.max_values]))

    @classmethod
    def restore(cls, state: EncoderState) -> CategoryIndex:
        """The encoder that gave `state`."""
        return cls(IndexConfig.model_validate(state.json["config"]), list(state.json["values"]))

    def state(self) -> EncoderState:
        """JSON `config` and `values`."""
        return EncoderState({"config": self.config.identity(), "values": self.values}, personal=True)

    @property
    def size(self) -> int:
        """Known values and two."""
        return FIRST + len(self.values)

    @property
    def entries(self) -> Sequence[str]:
        """The known values."""
        return self.values

    def encode(self, values: Sequence[Value]) -> Encoded:
        """`value` [B] int64 and `present` [B] bool."""
        find = self._numbers.get
        numbers = np.array([find(value, UNKNOWN) for value in values], np.int64)
        return Encoded({"value": numbers, "present": numbers != MISSING})


@dataclass(frozen=True)
class OneValue(Parts):
    """A value that is its own only part."""

    def without(self, removed: Sequence[int]) -> Value:
        """Nothing, if the value itself is removed."""
        return None if 0 in removed else self.value


class Category(Feature):
    """A column of few values; gives an index."""

    storage: ClassVar[pa.DataType] = pa.string()
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"index": CategoryIndex}

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Short values that repeat. Numbers score higher as numbers, unless they are two integers at most."""
        if not sample:
            return Guess(0.05, "no values")
        distinct = len({self.parse_value(value) for value in sample})
        share = distinct / len(sample)
        if fmean(map(len, sample)) > 40 or max(map(len, sample)) > 200:
            return Guess(0.1, "long values")
        if share <= 0.5:
            return Guess(0.8, f"{distinct} different values in {len(sample)}")
        return Guess(0.4, f"{share:.0%} distinct values")

    def parse_value(self, raw: Any) -> Value:
        """The value as text without white space around it; None if blank or NaN."""
        if isinstance(raw, str):
            text = raw.strip()
            if (whole := _WHOLE.fullmatch(text)) is not None:
                return whole[1]
            return text.lower() if text.lower() in _TRUTH else text or None
        if raw is None or raw != raw:
            return None
        if isinstance(raw, bool):
            return "true" if raw else "false"
        if isinstance(raw, int | float | Decimal):
            return self.parse_value(format(raw, "f") if isinstance(raw, Decimal) else str(raw))
        if isinstance(raw, date):
            return raw.isoformat()
        raise BadValue(f"is a {type(raw).__name__}, not one value")

    def parts(self, value: Value) -> OneValue:
        """The value itself."""
        return OneValue(() if value is None else (value,), value)

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`bucket`: one of 65,536 by CRC-32 of the value. Compare how often each occurs, not its size."""
        buckets = {value: float(zlib.crc32(value.encode()) % BUCKETS) for value in set(values) if value is not None}
        return {"bucket": np.array([buckets.get(value, np.nan) for value in values], np.float64)}
