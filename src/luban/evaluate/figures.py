"""How figures are written in reports: enough digits to compare, not more; a dash for what is missing."""

from __future__ import annotations

DASH = "–"


def number(value: float, digits: int) -> str:
    """A number with a fixed count of decimals.

    >>> number(12345.678, 1)
    '12,345.7'
    """
    return f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage, without decimals that are zero.

    >>> percent(0.8612), percent(0.5)
    ('86.1 %', '50 %')
    """
    if value is None:
        return DASH
    text = number(value * 100, digits)
    return f"{text.removesuffix('.0') if digits == 1 else text} %"


def shown(value: float | int | None) -> str:
    """A figure with about three digits after its first: small numbers keep more decimals than large ones.

    >>> shown(0.86123), shown(1234.5), shown(12), shown(None), shown(0.00012)
    ('0.861', '1,234', '12', '–', '0.00012')
    """
    if value is None:
        return DASH
    if isinstance(value, int):
        return f"{value:,}"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1000:
        return number(value, 0)
    if size >= 100:
        return number(value, 1)
    if size >= 10:
        return number(value, 2)
    return number(value, 3) if size >= 0.001 else f"{value:.2g}"


def signed(value: float) -> str:
    """The same with its sign.

    >>> signed(0.0123), signed(-0.5)
    ('+0.012', '−0.500')
    """
    return f"{'−' if value < 0 else '+'}{shown(abs(value))}"


def span(low: float | None, high: float | None) -> str:
    """An interval.

    >>> span(0.85, 0.872), span(None, None)
    ('0.850–0.872', '')
    """
    return "" if low is None or high is None else f"{shown(low)}–{shown(high)}"
