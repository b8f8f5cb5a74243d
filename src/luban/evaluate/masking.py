"""Personal data in a value that is shown: e-mail addresses, telephone, identity and card numbers, masked.

Simple patterns, for rows that are read in a report: names and addresses are not found, so what is masked here
stays personal. Digits of any script count.
"""

from __future__ import annotations

import re

from luban.data.binary import shown as of_bytes

MAX_CHARACTERS = 300
_MIDNIGHT = re.compile(r"(?<=^\d{4}-\d\d-\d\d)[ T]00:00:00(?:\+00:00|Z)?$")
_PATTERNS = (
    ("[e-mail]", re.compile(r"[\w.+-]+[@＠][\w-]+(?:\.[\w-]+)+")),
    ("[id]", re.compile(r"(?<!\d)\d{17}[\dXxＸｘ](?!\d)")),
    (
        "[phone]",
        re.compile(r"(?<![\d.,])(?:[+＋]\d{1,3}[ -]?)?(?:\(\d{2,4}\)|\d{2,4})(?:[ -]?\d{3,4}){2,3}(?![\d.,]\d|\d)"),
    ),
    ("[number]", re.compile(r"(?<![\d.,])\d{9,}(?!\d)")),
)


def plain(value: object) -> str:
    """A value as people write it: a list without its marks, a day without its midnight.

    >>> plain(["red", "blue"]), plain("2025-07-23 00:00:00+00:00"), plain(2.50)
    ('red, blue', '2025-07-23', '2.5')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(one) for one in value)
    return f"{value:.12g}" if isinstance(value, float) else _MIDNIGHT.sub("", str(value))


def masked(text: str) -> str:
    """The text with what looks like a person's number or address replaced.

    >>> masked("Call 138 0013 8000 or mail a.b@c.cn, order 4711, 12.5 kg")
    'Call [phone] or mail [e-mail], order 4711, 12.5 kg'
    """
    for name, pattern in _PATTERNS:
        text = pattern.sub(name, text)
    return text


def shown(value: object) -> str | None:
    """A value to be read: masked, then cut to 300 characters; None where missing.

    >>> shown(2.50), shown(None), len(shown("x" * 1000))
    ('2.5', None, 300)
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        return str(of_bytes(value))
    text = masked(plain(value))
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
