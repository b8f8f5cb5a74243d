"""Points in time: when something was ordered, written, measured.

Decided here: values are kept in UTC to the microsecond; what text means is in `dates.py`. A vector holds
the calendar in UTC, and days since the median of training rows, taken in float64 and cast last:

    scale standard, quantile   days (scaled), years since the median, sine and cosine of the day of the
                               year, of the day of the week and of the time of day
    scale none                 days, year, month, day, weekday (Monday 0), hour with its fraction: for trees

and one more column, 1 where missing, with `missing: mean`. It knows no holidays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
from pydantic import field_validator

from luban.catalog import Config
from luban.errors import BadValue
from luban.features.base import Encoder, EncoderState, Feature, Guess, Parts, Value
from luban.features.category import OneValue
from luban.features.dates import EPOCH, Order, Unit, in_utc, read_epoch, read_time
from luban.features.kinds import Arrays, Encoded, Kind, VectorConfig
from luban.features.scaling import Scaling

_DAY_US = 86_400_000_000
_MICRO = timedelta(microseconds=1)


class TimeVector(Encoder):
    """Calendar and days since the training median as [B, D] float32."""

    array_kind: ClassVar[Kind] = "vector"

    def __init__(self, config: VectorConfig, median_us: int, scaling: Scaling, fill: list[float]) -> None:
        super().__init__()
        self.config = config
        self.median_us = median_us
        self.scaling = scaling
        self.fill = fill

    @classmethod
    def fit(cls, values: Sequence[Value], config: Config, seed: int, subjects: Sequence[Value] | None) -> TimeVector:
        """Median and spread of training times. `seed` and `subjects` are not used: no value is kept as such."""
        assert isinstance(config, VectorConfig)
        micros, present = _micros(values)
        known = micros[present]
        median = int(np.sort(known)[len(known) // 2]) if len(known) else 0
        days = (known - median) / _DAY_US
        unfilled = cls(config, median, Scaling.fit(days, config.scale), [])
        parts = unfilled._parts(known)
        raw = config.scale == "none" and len(known)
        return cls(config, median, unfilled.scaling, parts.mean(axis=0).tolist() if raw else [0.0] * parts.shape[1])

    @classmethod
    def restore(cls, state: EncoderState) -> TimeVector:
        """The encoder that gave `state`."""
        about = state.json
        scaling = Scaling.restore(about["scaling"], state.tensors.get("grid", np.zeros(0)))
        return cls(VectorConfig.model_validate(about["config"]), about["median_us"], scaling, about["fill"])

    def state(self) -> EncoderState:
        """JSON `config`, `median_us` (since 1970), `scaling` of days, `fill` for missing; tensor `grid` for ranks."""
        about = {
            "config": self.config.identity(),
            "median_us": self.median_us,
            "scaling": self.scaling.state(),
            "fill": self.fill,
        }
        return EncoderState(about, {"grid": self.scaling.grid} if len(self.scaling.grid) else {})

    @property
    def size(self) -> int:
        """6 or 8 columns, and one for missing where it is not NaN."""
        calendar = 6 if self.config.scale == "none" else 8
        return calendar if self.config.missing == "nan" else calendar + 1

    def encode(self, values: Sequence[Value]) -> Encoded:
        """`value` [B, D] float32 and `present` [B] bool."""
        micros, present = _micros(values)
        parts = self._parts(micros)
        if self.config.missing == "nan":
            parts[~present] = np.nan
        else:
            parts[~present] = self.fill
            parts = np.column_stack([parts, ~present])
        return Encoded({"value": parts.astype(np.float32), "present": present})

    def _parts(self, micros: np.ndarray) -> np.ndarray:
        """The columns [B, 6 or 8] float64 of times in microseconds since 1970."""
        moments = micros.astype("M8[us]")
        day, year, month = (moments.astype(f"M8[{unit}]") for unit in "DYM")
        hours = (micros - day.astype(np.int64) * _DAY_US) / 3.6e9
        weekday = (day.astype(np.int64) + 3) % 7
        years = year.astype(np.int64)
        days = self.scaling.apply((micros - self.median_us) / _DAY_US)
        if self.config.scale == "none":
            of_month = (day - month.astype("M8[D]")).astype(np.int64) + 1
            return np.column_stack([days, years + 1970, month.astype(np.int64) % 12 + 1, of_month, weekday, hours])
        of_year = (day - year.astype("M8[D]")).astype(np.int64)
        middle = int(np.int64(self.median_us).astype("M8[us]").astype("M8[Y]").astype(np.int64))
        turns = [(of_year, 365.2425), (weekday + hours / 24, 7.0), (hours, 24.0)]
        angles = [2 * math.pi * at / period for at, period in turns]
        waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
        return np.column_stack([days, years - middle, *waves])


def _micros(values: Sequence[Value]) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds since 1970 [B] int64, 0 where missing, and which are present."""
    micros = np.array([0 if value is None else (value - EPOCH) // _MICRO for value in values], np.int64)
    return micros, np.array([value is not None for value in values], bool)


class Time(Feature):
    """A column of points in time; gives a vector."""

    storage: ClassVar[pa.DataType] = pa.timestamp("us", "UTC")
    encoders: ClassVar[dict[Kind, type[Encoder]]] = {"vector": TimeVector}

    class Config(Feature.Config):
        """How the times of a column are written."""

        timezone: str = "UTC"
        """Zone of times that name none ("Asia/Shanghai")."""
        order: Order = "ymd"
        """Which comes first in "01/05/2024": dmy (day) or mdy (month); ymd refuses it."""
        unit: Unit | None = None
        """Unit of plain numbers since 1970: s, ms or us; left out, numbers are refused."""

        @field_validator("timezone")
        @classmethod
        def _known(cls, timezone: str) -> str:
            _zone(timezone)
            return timezone

    @cached_property
    def _timezone(self) -> tzinfo:
        return _zone(self.config.timezone)

    def infer(self, sample: Sequence[str]) -> Guess | None:
        """Nearly all read as dates or times."""
        read = 0
        for value in sample:
            try:
                moment = self.parse_value(value)
            except BadValue:
                continue
            read += moment is not None and 1800 <= moment.year <= 2200
        if not sample or read < 0.9 * len(sample):
            return None
        return Guess(0.95 * read / len(sample), f"{read / len(sample):.0%} are dates or times")

    def parse_value(self, raw: Any) -> Value:
        """A datetime in UTC; see `dates.py` for what text may look like."""
        if raw is None or raw != raw:
            return None
        if isinstance(raw, str):
            text = raw.strip()
            if not text:
                return None
            if self.config.unit is None:
                return read_time(text, self._timezone, self.config.order)
            return self._number_or_text(text)
        if isinstance(raw, date):
            return in_utc(raw, self._timezone)
        if isinstance(raw, int | float | Decimal) and not isinstance(raw, bool):
            if self.config.unit is not None:
                return read_epoch(raw if isinstance(raw, int) else float(raw), self.config.unit)
            if isinstance(raw, int) and 10_000_101 <= raw <= 99_991_231:
                return read_time(str(raw), self._timezone)
            raise BadValue("is a number; if it counts time since 1970, set unit: s, ms or us")
        raise BadValue(f"is a {type(raw).__name__}, not a date or time")

    def _number_or_text(self, text: str) -> datetime:
        try:
            number: float = int(text)
        except ValueError:
            try:
                number = float(text)
            except ValueError:
                return read_time(text, self._timezone, self.config.order)
        return read_epoch(number, self.config.unit or "s")

    def is_plain(self, raw: Any, parsed: Value) -> bool:
        """ISO 8601 text and typed times are plain."""
        if isinstance(raw, str):
            try:
                datetime.fromisoformat(raw)
            except ValueError:
                return False
        return isinstance(raw, str | date)

    def parts(self, value: Value) -> Parts:
        """The time itself."""
        return OneValue(() if value is None else (value.isoformat(),), value)

    def signals(self, values: Sequence[Value]) -> Arrays:
        """`days` since 1970, `hour` of the day and `weekday` (Monday 0), all in UTC."""
        micros, present = _micros(values)
        day = micros // _DAY_US
        figures = {"days": micros / _DAY_US, "hour": micros % _DAY_US / 3.6e9, "weekday": (day + 3.0) % 7}
        return {name: np.where(present, figure, np.nan) for name, figure in figures.items()}


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"must be a zone of the IANA database such as Asia/Shanghai, but got {name!r}") from error
