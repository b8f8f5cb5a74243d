"""Personal data in texts: phone numbers, e-mail addresses, Chinese identity numbers, bank cards.

Each recogniser finds where such a thing stands; what it says is that something *looks like* one. Decided here:

- what has a check digit must pass it: identity numbers by GB 11643-1999 (ISO 7064, MOD 11-2) with a date
  that there is, cards by Luhn (ISO/IEC 7812) with a prefix and a length that are in use;
- a span belongs to one kind: an identity number is no card, a card is no phone number;
- full-width digits and signs count as their plain forms; offsets are those of the text as it was given.

Names, addresses and faces it does not find; a number without a check digit may be something else. It keeps and
prints no value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

_PLAIN = str.maketrans(
    {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {"\u3000": " ", "\u2010": "-", "\u2011": "-"}
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_ID_CHECKS = "10X98765432"


@dataclass(frozen=True)
class Span:
    """Where something of a kind stands in a text: `text[start:end]`."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Recogniser:
    """One kind of personal data: what it looks like, and what it must pass beyond its looks."""

    kind: str
    pattern: re.Pattern[str]
    passes: Callable[[str], bool]


def is_identity_number(text: str) -> bool:
    """Whether 18 characters are a Chinese identity number: a date that there is, and the check digit.

    >>> is_identity_number("11010519491231002X"), is_identity_number("110105194912310021")
    (True, False)
    """
    if re.fullmatch(r"\d{17}[\dXx]", text, re.ASCII) is None:
        return False
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _ID_WEIGHTS, strict=True))
    return 1900 <= born.year <= 2100 and text[17].upper() == _ID_CHECKS[total % 11]


def is_card_number(text: str) -> bool:
    """Whether 13 to 19 digits are a payment card's: a prefix in use, and Luhn's check digit.

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("4111 1111 1111 1112")
    (True, False)
    """
    digits = re.sub(r"[ -]", "", text)
    return digits.isdigit() and _has_card_prefix(digits) and _luhn(digits)


def _has_card_prefix(digits: str) -> bool:
    """Networks by prefix and length: Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro."""
    size, four = len(digits), int(digits[:4])
    return (
        (digits[0] == "4" and size in (13, 16, 19))
        or (size == 16 and (5100 <= four <= 5599 or 2221 <= four <= 2720))
        or (size == 15 and digits[:2] in ("34", "37"))
        or (size == 14 and digits[:2] in ("30", "36", "38"))
        or (16 <= size <= 19 and (digits[:2] in ("62", "65", "81") or 3528 <= four <= 3589 or four == 6011))
        or (16 <= size <= 19 and digits[:2] in ("50", "56", "57", "58", "60", "63", "67"))
    )


def _luhn(digits: str) -> bool:
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + position % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _some_digits_differ(text: str) -> bool:
    """A run of one digit is a placeholder."""
    return len(set(re.sub(r"\D", "", text)[-8:])) > 1


IDENTITY, CARD, EMAIL, PHONE = "identity number", "bank card", "e-mail", "phone number"
_EMAIL = r"(?<![\w.+-])[A-Za-z0-9][\w.%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}(?![\w-])"
_IDENTITY = r"(?<![0-9A-Za-z])[1-9]\d{16}[\dXx](?![0-9A-Za-z])"
_CARD = r"(?<![\w.-])(?<!\d )\d(?:[ -]?\d){12,18}(?![\w-])(?!\.\d)"
_PHONE = (
    r"(?<![0-9_.+-])(?:"
    r"(?:(?:\+|00)?86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}"  # Chinese mobile
    r"|(?:\+86[ -]?)?\(?0\d{2,3}\)?[ -]\d{7,8}(?:-\d{1,5})?"  # Chinese landline with its area
    r"|\+(?!86)[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}"  # international form
    r"|\(?[2-9]\d{2}\)?[ .-][2-9]\d{2}[.-]\d{4}"  # North America
    r")(?![\w-])(?!\.\d)"
)
RECOGNISERS: tuple[Recogniser, ...] = (
    Recogniser(EMAIL, re.compile(_EMAIL, re.ASCII), lambda text: True),
    Recogniser(IDENTITY, re.compile(_IDENTITY, re.ASCII), is_identity_number),
    Recogniser(CARD, re.compile(_CARD, re.ASCII), is_card_number),
    Recogniser(PHONE, re.compile(_PHONE, re.ASCII), _some_digits_differ),
)
KINDS = tuple(recogniser.kind for recogniser in RECOGNISERS)


def find(text: str) -> Iterator[Span]:
    """Everything in a text that looks personal, no two spans of which overlap, kind by kind.

    >>> [span.kind for span in find("致电13812345678，或写信到 li.lei@example.com")]
    ['e-mail', 'phone number']
    """
    plain = text.translate(_PLAIN)
    if not any(mark in plain for mark in "@0123456789"):
        return
    taken = bytearray(
        len(plain)
    )  # One for each character that belongs to a span: to look through all spans takes time.
    for recogniser in RECOGNISERS:
        for match in recogniser.pattern.finditer(plain):
            start, end = match.span()
            if taken.find(1, start, end) >= 0 or not recogniser.passes(match[0]):
                continue
            taken[start:end] = b"\1" * (end - start)
            yield Span(recogniser.kind, start, end)


def kinds_in(text: str) -> frozenset[str]:
    """The kinds that a text has."""
    return frozenset(span.kind for span in find(text))


def is_wholly(text: str, kind: str) -> bool:
    """Whether a text is one thing of a kind and nothing else."""
    stripped = text.strip()
    return any(span.kind == kind and span.start == 0 and span.end == len(stripped) for span in find(stripped))
