"""What kind of character a code point is: letter, digit, Chinese or kana, white space or else.

Decided here: combining marks count as letters, so that words of Indic scripts stay whole; Hangul is
written with spaces and so counts as letters; Chinese characters and kana stand alone. The table is made
when first asked for, from the Unicode tables of the running Python, so a character that is newer than
that Python is "else".
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

ELSE, LETTER, DIGIT, CJK, SPACE = range(5)

_LAST = 0x33480
"""No letter is assigned above this, except none that matters (variation selectors)."""
_CJK_RANGES = (
    (0x3005, 0x3007),  # iteration mark, closing mark, zero
    (0x3041, 0x3096),  # hiragana
    (0x309D, 0x309F),
    (0x30A1, 0x30FA),  # katakana
    (0x30FC, 0x30FF),
    (0x3105, 0x312F),  # bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width katakana
    (0x1B000, 0x1B16F),
    (0x20000, _LAST - 1),
)


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    table = np.zeros(_LAST + 1, np.uint8)
    for code in range(0x20000):
        character = chr(code)
        if character.isalpha():
            table[code] = LETTER
        elif character.isnumeric():
            table[code] = DIGIT
        elif character.isspace():
            table[code] = SPACE
        elif unicodedata.category(character)[0] == "M":
            table[code] = LETTER
    for first, last in _CJK_RANGES:
        table[first : last + 1] = CJK
    return table


def character_classes(codes: np.ndarray) -> np.ndarray:
    """ELSE, LETTER, DIGIT, CJK or SPACE [C] uint8 for code points [C]."""
    found: np.ndarray = _table()[np.minimum(codes, _LAST)]
    return found


_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0xFFE5: "¥", 0xFFE1: "£"}


def half_width(text: str) -> str:
    """Full-width letters, digits and signs as ASCII; nothing else changes ("10²" stays what it is).

    >>> half_width("（１２）％")
    '(12)%'
    """
    return text.translate(_HALF_WIDTH)
