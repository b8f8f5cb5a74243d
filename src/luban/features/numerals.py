"""Numbers as people write them: "1,200 元", "12%", "1.2万", "(1,200)", "−5", "１２".

    written                         read as        decided here
    1,200   1 200   1'200           1200           groups of exactly three digits
    1,5                             refused        a comma that groups nothing is not guessed at
    1.200,50                        1200.5         only where the column says `decimal: ","`
    12%   5‰                        0.12   0.005   the share that is meant
    1.2万  3亿  1.5k  2M            12000 …        千 k, 万, 百万 M, 亿, 十亿 bn …; "m" is metres
    ¥1,200   1,200 元   $-5         1200 …  -5     a currency before or after is dropped
    (1,200)                         -1200          as accountants write it
    −5  １２  ＋3                   -5  12  3      Unicode minus, full-width characters

Scale words and percent shift the decimal exponent before the one conversion to binary, so "1.1万" is
exactly 11000. "NaN" and "inf" are refused. This module knows no column and no setting but the two it is
given.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Literal

from luban.errors import BadValue
from luban.features.characters import half_width

Decimal = Literal[".", ","]

_CURRENCY = r"(?:(?:US|HK|NT|CA|AU|S|R|A|C)?\$|[¥€£₩₹₽฿]|(?i:RMB|CNY|USD|EUR|GBP|JPY|HKD)|人民币|美元)"
_SUFFIX = r"(?:元整|元|圆|块钱|块|美元|欧元|英镑|日元|港元|港币|人民币|[€£¥$₩₹₽]|(?i:RMB|CNY|USD|EUR|GBP|JPY|HKD))"
_SCALES = {
    "": 0,
    "%": -2,
    "‰": -3,
    "百": 2,
    "千": 3,
    "k": 3,
    "K": 3,
    "万": 4,
    "萬": 4,
    "十万": 5,
    "百万": 6,
    "M": 6,
    "千万": 7,
    "亿": 8,
    "億": 8,
    "十亿": 9,
    "bn": 9,
    "百亿": 10,
    "千亿": 11,
    "万亿": 12,
}
_LONGEST = 400
_SIGNS = str.maketrans({"−": "-", "–": "-", "﹣": "-", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "_": "'"})


@lru_cache(maxsize=8)
def _pattern(decimal: Decimal, unit: str) -> re.Pattern[str]:
    point, group = (r"\.", r"[, ']") if decimal == "." else (",", r"[. ']")
    scales = "|".join(sorted(map(re.escape, filter(None, _SCALES)), key=len, reverse=True))
    suffix = f"(?:{_SUFFIX}|{re.escape(unit)})" if unit else _SUFFIX
    return re.compile(
        rf"""(?P<sign>[-+])?\s*(?:{_CURRENCY}\s*)?(?P<sign2>[-+])?
        (?P<whole>\d{{1,3}}(?P<group>{group})\d{{3}}(?:(?P=group)\d{{3}})*|\d+)?
        (?:{point}(?P<part>\d*))?
        (?:[eE](?P<exponent>[-+]?\d{{1,4}}))?
        \s*(?P<scale>{scales})?\s*{suffix}?""",
        re.VERBOSE,
    )


def read_number(text: str, decimal: Decimal = ".", unit: str = "") -> float:
    """The number that `text` states. Raises BadValue with the reason.

    >>> read_number("1.2万"), read_number("(1,200)"), read_number("12 %")
    (12000.0, -1200.0, 0.12)
    """
    if len(text) > _LONGEST:
        raise BadValue("is too long for a number")
    plain = half_width(text).translate(_SIGNS).strip()
    bracketed = plain.startswith("(") and plain.endswith(")")
    match = _pattern(decimal, unit).fullmatch(plain[1:-1].strip() if bracketed else plain)
    if match is None or not (match["whole"] or match["part"]):
        raise BadValue(_reason(plain, decimal))
    signs = [sign for sign in (match["sign"], match["sign2"]) if sign] + ["-"] * bracketed
    if len(signs) > 1:
        raise BadValue("has two signs")
    whole = re.sub(r"\D", "", match["whole"] or "0")
    exponent = int(match["exponent"] or 0) + _SCALES[match["scale"] or ""]
    value = float(f"{''.join(signs)}{whole}.{match['part'] or '0'}e{exponent}")
    if math.isinf(value):
        raise BadValue("is larger than a 64-bit number can be")
    return value


def _reason(plain: str, decimal: Decimal) -> str:
    """Why this text is not a number, in words."""
    if plain.lower().lstrip("+-") in ("nan", "inf", "infinity", "∞"):
        return "is not a finite number"
    if decimal == "." and re.fullmatch(r"[-+]?[\d.]*,\d*", plain):
        return "has a comma that does not group thousands; if it is a decimal comma, set decimal: ','"
    if decimal == "," and re.fullmatch(r"[-+]?[\d,]*\.\d*", plain):
        return "has a point that does not group thousands; if it is a decimal point, set decimal: '.'"
    return "is not a number"
