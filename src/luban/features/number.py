"""Numbers: amounts, counts, measurements, percentages.

Decided here: what text means is in `numerals.py`; plain text ("-12.5", "3e4") takes a fast path through
Arrow's reader, which gives the same bits; NaN from a typed column is missing, infinity is a bad value.
With `missing: mean` a vector always has a second column that says missing, whether or not training rows
had gaps.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from luban.catalog import Config
from luban.errors import BadValue
from luban.features.base import Encoder, EncoderState, Feature, Guess, Parsed, Parts, SideBySide, Value
from luban.features.category import OneValue
from luban.features.kinds import Arrays, Encoded, Kind, VectorConfig
from luban.features.numerals import read_number
from luban.features.scaling import Lines, Scaling

_UNIT = re.compile(r"[0-9.]\s*([^\W\d_][^\d\s]{0,7})$")
"""What stands behind a number and begins with a letter: perhaps a unit."""
_PLAIN = r"^-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][-+]?[0-9]{1,2})?$"
_LEADING_ZERO = r"^0[0-9]+$"


class NumberVector(Encoder):
    """Numbers as [B, 1] float32, or [B, 2] with a column that is 1 where missing.

    `mean` and `scale` are those of the training values, float64.
    """

    array_kind: ClassVar[Kind] = "vector"

    def __init__(self, config: VectorConfig, scaling: Scaling) -> None:
        super().__init__()
        self.config = config
        self.scaling = scaling

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> NumberVector:
        """Mean, scale or quantiles of training values. `seed` and `subjects` are not used: no value is kept as such."""
        assert isinstance(config, VectorConfig)
        return cls(config, Scaling.fit(as_floats(values), config.scale))

    @classmethod
    def restore(cls, state: EncoderState) -> NumberVector:
        """The encoder that gave `state`."""
        grid = state.tensors.get("grid", np.zeros(0))
        return cls(VectorConfig.model_validate(state.json["config"]), Scaling.restore(state.json["scaling"], grid))

    def state(self) -> EncoderState:
        """JSON `config`, `scaling`, and `mean` and `scale` of training values; tensor `grid` [Q] float64 for ranks."""
        about = {
            "config": self.config.identity(),
            "scaling": self.scaling.state(),
            "mean": self.scaling.mean,
            "scale": self.scaling.scale,
        }
        return EncoderState(about, {"grid": self.scaling.grid} if len(self.scaling.grid) else {})

    @property
    def mean(self) -> float:
        """Mean of training values."""
        return self.scaling.mean

    @property
    def scale(self) -> float:
        """Standard deviation of training values, 0 if all are equal."""
        return self.scaling.scale

    @property
    def size(self) -> int:
        """Columns: 1 where missing is NaN, 2 where it is the mean."""
        return 1 if self.config.missing == "nan" else 2

    def encode(self, values: Sequence[Value]) -> Encoded:
        """`value` [B, D] float32 and `present` [B] bool."""
        if len(values) == 1:
            return self._encode_one(values[0])
        numbers = as_floats(values)
        missing = np.isnan(numbers)
        scaled = self.scaling.apply(numbers)
        if self.config.missing == "nan":
            value = scaled.astype(np.float32)[:, None]
        else:
            value = np.empty((len(numbers), 2), np.float32)
            value[:, 0] = np.where(missing, self.scaling.average, scaled)
            value[:, 1] = missing
        return Encoded({"value": value, "present": ~missing})

    @classmethod
    def side_by_side(cls, encoders: Sequence[Encoder]) -> SideBySide | None:
        """Numbers on a linear scale are computed as one matrix; ranks, and columns that never varied, by themselves."""
        found = [one for one in encoders if isinstance(one, NumberVector)]
        if len({one.config.missing for one in found}) != 1 or not all(one.scaling.is_line for one in found):
            return None
        return partial(_encoded, Lines.of([one.scaling for one in found]), found[0].config.missing == "nan")

    def _encode_one(self, value: Value) -> Encoded:
        """The same for one served row, without arrays in between."""
        if value is None or value != value:
            filled, is_missing = (math.nan if self.config.missing == "nan" else self.scaling.average), True
        else:
            filled, is_missing = self.scaling.one(float(value)), False
        row = [filled] if self.config.missing == "nan" else [filled, float(is_missing)]
        return Encoded({"value": np.array([row], np.float32), "present": np.array([not is_missing])})


def _encoded(lines: Lines, missing_is_nan: bool, columns: Sequence[Sequence[Value]]) -> Arrays:
    """What `NumberVector.encode` gives for each of K columns of B values: `value` [K, B, D], `present` [K, B]."""
    numbers_kb = np.array(columns, np.float64)
    missing_kb = np.isnan(numbers_kb)
    scaled_kb = lines.apply(numbers_kb)
    if missing_is_nan:
        value = scaled_kb.astype(np.float32)[:, :, None]
    else:
        value = np.empty((*numbers_kb.shape, 2), np.float32)
        value[:, :, 0] = np.where(missing_kb, lines.average, scaled_kb) if missing_kb.any() else scaled_kb
        value[:, :, 1] = missing_kb
    return {"value": value, "present": ~missing_kb}


def as_floats(values: Sequence[Value]) -> np.ndarray:
    """Values [B] as float64, NaN where missing."""
    return np.array(values, np.float64) if len(values) else np.zeros(0)


class Number(Feature):
    """A column of numbers; gives a vector."""

    storage: ClassVar[pa.DataType] = pa.float64()
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"vector": NumberVector}
    reads_floats: ClassVar[bool] = True

    class Config(Feature.Config):
        """How the numbers of a column are written."""

        decimal: Literal[".", ","] = "."
        """What stands before the fraction; the other one groups thousands."""
        unit: str = ""
        """A unit that may follow the number and is dropped ("kg")."""

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Nearly all can be read as numbers and do not look like codes."""
        read: list[float] = []
        for value in sample:
            try:
                read.append(self.parse_value(value))
            except BadValue:
                continue
        if not sample or len(read) < 0.9 * len(sample):
            return self._with_unit(sample) if sample and not self.config.unit else None
        codes = sum(1 for v in sample if len(v) > 1 and v[0] == "0" and v.isdecimal())
        if codes > 0.1 * len(sample):
            return Guess(0.2, "leading zeros: codes, not numbers")
        share = len(read) / len(sample)
        distinct = set(read)
        if len(distinct) <= 2 and len(sample) >= 10 and all(v is None or v.is_integer() for v in distinct):
            return Guess(0.7, f"numbers, but only {len(distinct)} different ones")
        return Guess(0.9 * share, f"{share:.0%} are numbers")

    def _with_unit(self, sample: Sequence[str]) -> Guess | None:
        """The guess if one unit stood behind nearly all values ("74平米", "12 kg"), or None."""
        ends = Counter(match[1] for value in sample if (match := _UNIT.search(value)))
        for unit, count in ends.most_common(1):
            found = Number(self.Config(decimal=self.config.decimal, unit=unit)).infer(sample)
            if count >= 0.5 * len(sample) and found is not None:
                return replace(found, reason=f"{found.reason} with the unit {unit}", settings={"unit": unit})
        return None

    def parse_value(self, raw: Any) -> Value:
        """A float; see `numerals.py` for what text may look like."""
        if isinstance(raw, float):
            value = float(raw)
        elif raw is None:
            return None
        elif isinstance(raw, str):
            return read_number(raw, self.config.decimal, self.config.unit) if raw.strip() else None
        elif isinstance(raw, int | Decimal):
            try:
                value = float(raw)
            except OverflowError as error:
                raise BadValue("is larger than a 64-bit number can be") from error
        else:
            raise BadValue(f"is a {type(raw).__name__}, not a number")
        if math.isinf(value):
            raise BadValue("is infinite")
        return None if math.isnan(value) else value

    def parse(self, raw: pa.Array) -> Parsed:
        """As `parse_value`; typed numbers and plain text through Arrow, the rest value by value."""
        import pyarrow.compute as pc

        if pa.types.is_floating(raw.type) or pa.types.is_integer(raw.type):
            return _typed(raw)
        if not (pa.types.is_string(raw.type) or pa.types.is_large_string(raw.type)) or self.config.decimal != ".":
            return super().parse(raw)
        plain = pc.fill_null(pc.match_substring_regex(raw, _PLAIN), False)
        # Only what is plain is cast: older Arrow looks into the bytes of null values too.
        found = pc.cast(raw.filter(plain), pa.float64())
        numbers = pc.replace_with_mask(pa.nulls(len(raw), pa.float64()), plain, found)
        rest = np.flatnonzero(~plain.to_numpy(zero_copy_only=False) & raw.is_valid().to_numpy(zero_copy_only=False))
        if not len(rest):
            return Parsed(numbers)
        slow = super().parse(raw.take(pa.array(rest)))
        mask = np.zeros(len(raw), bool)
        mask[rest] = True
        merged = pc.replace_with_mask(numbers, pa.array(mask), slow.values)
        return Parsed(merged, {int(rest[i]): reason for i, reason in slow.bad.items()}, rest[slow.changed])

    def parts(self, value: Value) -> Parts:
        """The number itself."""
        return OneValue(() if value is None else (f"{value:g}",), value)

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`value`: the number itself."""
        return {"value": as_floats(values)}


def _typed(raw: pa.Array) -> Parsed:
    """Typed numbers: NaN is missing, infinity is bad."""
    import pyarrow.compute as pc

    numbers = pc.cast(raw, pa.float64(), safe=False)
    finite = pc.is_finite(numbers)
    if pc.all(finite, min_count=0).as_py():
        return Parsed(numbers)
    infinite = np.flatnonzero(pc.fill_null(pc.is_inf(numbers), False).to_numpy(zero_copy_only=False))
    reasons = {int(row): "is infinite" for row in infinite}
    nan = np.flatnonzero(pc.fill_null(pc.is_nan(numbers), False).to_numpy(zero_copy_only=False))
    return Parsed(pc.if_else(finite, numbers, None), reasons, nan)
