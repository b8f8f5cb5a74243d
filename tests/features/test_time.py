"""Points in time as people write them, and as vectors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from luban.errors import BadValue
from luban.features.base import EncoderState
from luban.features.kinds import VectorConfig
from luban.features.time import Time, TimeVector

DAY = datetime(2024, 1, 5, tzinfo=UTC)
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda t: t.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("2024-01-05", DAY),
        ("2024/1/5", DAY),
        ("2024.1.5", DAY),
        ("2024年1月5日", DAY),
        ("２０２４年１月５日", DAY),
        ("20240105", DAY),
        (20240105, DAY),
        ("Jan 5, 2024", DAY),
        ("5 January 2024", DAY),
        ("Fri, 5 Jan 2024 12:30:00 GMT", DAY.replace(hour=12, minute=30)),
        ("2024-01-05 12:30", DAY.replace(hour=12, minute=30)),
        ("2024/1/5 12:30:15", DAY.replace(hour=12, minute=30, second=15)),
        ("2024年1月5日 15时20分", DAY.replace(hour=15, minute=20)),
        ("2024/1/5 下午3:20", DAY.replace(hour=15, minute=20)),
        ("2024/1/5 12:05 am", DAY.replace(minute=5)),
        ("2024-01-05T12:30:00+08:00", DAY.replace(hour=4, minute=30)),
        ("2024/1/5 12:30 +08:00", DAY.replace(hour=4, minute=30)),
        ("2024-01-05T00:00:00.25Z", DAY.replace(microsecond=250_000)),
        ("2024年1月", DAY.replace(day=1)),
        (date(2024, 1, 5), DAY),
        (datetime(2024, 1, 5), DAY),
        (datetime(2024, 1, 5, 8, tzinfo=timezone(timedelta(hours=8))), DAY),
        ("  ", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_reads(written: object, value: datetime | None) -> None:
    parsed = Time().parse_value(written)
    assert parsed == value
    assert Time().parse_value(parsed) == parsed
    assert parsed is None or parsed.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("01/05/2024", "set order"),
        ("2024-13-05", "month"),
        ("2024/2/30", "day"),
        ("yesterday", "not a date"),
        (1704412800, "set unit"),
        (True, "bool"),
        ("x" * 200, "too long"),
        ("0001-01-01T00:00:00+08:00", "outside"),
    ],
)
def test_refuses_with_a_reason(written: object, reason: str) -> None:
    with pytest.raises(BadValue, match=reason):
        Time().parse_value(written)


def test_settings_of_a_column() -> None:
    assert Time(Time.Config(order="dmy")).parse_value("05/01/2024") == DAY
    assert Time(Time.Config(order="mdy")).parse_value("1/5/2024") == DAY
    shanghai = Time(Time.Config(timezone="Asia/Shanghai"))
    assert shanghai.parse_value("2024-01-05 08:00") == DAY
    assert shanghai.parse_value("2024-01-05T00:00Z") == DAY
    for unit, factor in (("s", 1), ("ms", 1000), ("us", 1_000_000)):
        epoch = Time(Time.Config(unit=unit))
        seconds = int(DAY.timestamp())
        assert epoch.parse_value(seconds * factor) == epoch.parse_value(str(seconds * factor)) == DAY
        assert epoch.parse_value("2024-01-05") == DAY
        with pytest.raises(BadValue, match="outside"):
            epoch.parse_value(10**18 * factor)
    with pytest.raises(ValidationError, match="IANA"):
        Time.Config(timezone="Mars/Olympus")


def test_parse_in_bulk() -> None:
    parsed = Time().parse(pa.array(["2024-01-05", "2024/1/5", "x", None]))
    assert parsed.values.type == pa.timestamp("us", "UTC")
    assert parsed.values.to_pylist() == [DAY, DAY, None, None]
    assert parsed.changed.tolist() == [1]
    assert list(parsed.bad) == [2]
    assert not len(Time().parse(pa.array([datetime(2024, 1, 5)])).changed)


def test_a_plain_time_that_cannot_be_kept_is_bad() -> None:
    parsed = Time().parse(pa.array([None, "0001-01-01T00:00:00+10:00", "2024-01-05"]))
    assert list(parsed.bad) == [1]
    assert not len(parsed.changed)


@pytest.mark.parametrize("scale", ["none", "standard", "quantile"])
@pytest.mark.parametrize("missing", ["mean", "nan"])
@given(values=st.lists(st.one_of(st.none(), TIMES), max_size=15))
def test_vectors(scale: str, missing: str, values: list[datetime | None]) -> None:
    encoder = TimeVector.fit(values, VectorConfig(scale=scale, missing=missing), 0, None)
    again = TimeVector.restore(EncoderState(encoder.state().json, encoder.state().tensors))
    assert again.state_fingerprint == encoder.state_fingerprint
    value = again.encode([*values, None, DAY]).parts["value"]
    assert value.shape == (len(values) + 2, encoder.size)
    assert np.isnan(value[-2]).all() if missing == "nan" else np.isfinite(value).all()
    alone = np.concatenate([encoder.encode([one]).parts["value"] for one in [*values, None, DAY]])
    assert alone.tobytes() == value.tobytes()


def test_raw_calendar_for_trees() -> None:
    moment = datetime(2024, 2, 29, 18, 30, tzinfo=UTC)
    encoder = TimeVector.fit([moment], VectorConfig(scale="none", missing="nan"), 0, None)
    assert encoder.encode([moment]).parts["value"].tolist() == [[0, 2024, 2, 29, 3, 18.5]]


@given(TIMES)
def test_calendar_before_and_after_1970(moment: datetime) -> None:
    encoder = TimeVector.fit([], VectorConfig(scale="none", missing="nan"), 0, None)
    _, year, month, day, weekday, hour = encoder.encode([moment]).parts["value"][0].tolist()
    assert (year, month, day, weekday) == (moment.year, moment.month, moment.day, moment.weekday())
    assert hour == pytest.approx(moment.hour + moment.minute / 60 + moment.second / 3600, abs=1e-3)


def test_signals() -> None:
    found = Time().signals([DAY.replace(hour=6), None])
    assert found["hour"][0] == 6
    assert found["weekday"][0] == 4
    assert all(np.isnan(figure[1]) for figure in found.values())
