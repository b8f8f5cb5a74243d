"""Points in time as people write them: ISO 8601, "2024/1/5 12:30", "2024年1月5日", "20240105", "5 Jan 2024".

Decided here:

- year first is never doubted; "01/05/2024" is refused unless the column says which comes first (`order`);
- a time without a zone is in the column's zone, UTC unless told otherwise; all results are in UTC;
- a number is a point in time only where the column says its `unit`, or as eight digits of a date.

This module knows no column and no setting but the ones it is given.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal

from luban.errors import BadValue
from luban.features.characters import half_width

Order = Literal["ymd", "dmy", "mdy"]
Unit = Literal["s", "ms", "us"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000}
_LONGEST = 100
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<name>jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"""(?:[\sT,]*(?P<half>上午|下午|晚上|凌晨|中午)?\s*(?P<hour>\d{1,2})\s*[:时点]\s*
    (?:(?P<minute>\d{1,2})\s*分?)?
    (?:\s*:?\s*(?P<second>\d{1,2})(?:\.(?P<part>\d{1,9}))?\s*秒?)?\s*(?P<ampm>[ap]\.?m\.?)?
    \s*(?P<zone>Z|UTC|GMT|[-+]\d{2}:?\d{2})?)?"""
_YEAR_FIRST = re.compile(
    rf"(?P<year>\d{{4}})\s*[-/.年]\s*(?P<month>\d{{1,2}})(?:\s*[-/.月]\s*(?:(?P<day>\d{{1,2}})\s*日?)?)?{_CLOCK}",
    re.VERBOSE | re.IGNORECASE,
)
_YEAR_LAST = re.compile(
    rf"(?P<one>\d{{1,2}})\s*[-/.]\s*(?P<two>\d{{1,2}})\s*[-/.]\s*(?P<year>\d{{4}}){_CLOCK}", re.VERBOSE | re.IGNORECASE
)
_NAMED = re.compile(
    rf"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,?\s*)?"
    rf"(?:{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?[\s-]+"
    rf"{_MONTH.replace('name', 'name2')}),?[\s-]+(?P<year>\d{{4}}){_CLOCK}",
    re.VERBOSE | re.IGNORECASE,
)


def read_time(text: str, zone: tzinfo, order: Order = "ymd") -> datetime:
    """The point in time that `text` states, in UTC. Raises BadValue with the reason.

    >>> read_time("2024年1月5日 下午3:20", UTC).isoformat()
    '2024-01-05T15:20:00+00:00'
    """
    if len(text) > _LONGEST:
        raise BadValue("is too long for a date or time")
    plain = half_width(text).strip()
    try:
        return in_utc(datetime.fromisoformat(plain), zone)
    except ValueError:
        pass
    if match := _YEAR_FIRST.fullmatch(plain):
        return _moment(match, match["month"], match["day"] or "1", zone)
    if match := _NAMED.fullmatch(plain):
        name = (match["name"] or match["name2"]).lower()[:3]
        return _moment(match, str(_MONTHS.index(name) + 1), match["day"] or match["day2"], zone)
    if match := _YEAR_LAST.fullmatch(plain):
        if order == "ymd":
            raise BadValue("does not say whether day or month comes first; set order: dmy or mdy")
        day, month = (match["one"], match["two"]) if order == "dmy" else (match["two"], match["one"])
        return _moment(match, month, day, zone)
    raise BadValue("is not a date or time")


def _moment(match: re.Match[str], month: str, day: str, zone: tzinfo) -> datetime:
    hour = int(match["hour"] or 0)
    half = (match["half"] or match["ampm"] or "").lower().replace(".", "")
    if half in ("下午", "晚上", "pm", "中午") and hour < 12 and not (half == "中午" and hour == 11):
        hour += 12
    elif half in ("上午", "凌晨", "am") and hour == 12:
        hour = 0
    micro = int((match["part"] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(
            int(match["year"]), int(month), int(day), hour, int(match["minute"] or 0), int(match["second"] or 0), micro
        )
    except ValueError as error:
        raise BadValue(f"is not a date or time: {error}") from error
    written = (match["zone"] or "").upper()
    if written in ("Z", "UTC", "GMT"):
        return in_utc(moment, UTC)
    if written:
        return in_utc(datetime.fromisoformat(moment.isoformat() + written), UTC)
    return in_utc(moment, zone)


def read_epoch(number: float, unit: Unit) -> datetime:
    """The point in time `number` units after 1970. Raises BadValue where there is none."""
    try:
        if isinstance(number, int):
            return EPOCH + timedelta(microseconds=number * (1_000_000 // _PER_SECOND[unit]))
        return EPOCH + timedelta(seconds=number / _PER_SECOND[unit])
    except (OverflowError, ValueError) as error:
        raise BadValue("is outside the years 1 to 9999") from error


def in_utc(moment: datetime | date, zone: tzinfo) -> datetime:
    """A typed date or time in UTC; what has no zone is in `zone`."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise BadValue("is outside the years 1 to 9999") from error
