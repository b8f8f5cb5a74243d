"""How figures are written in reports: enough digits to compare, not more; a dash for what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

DASH = "–"


def number(value: float, digits: int) -> str:
    """A number with a fixed count of decimals.

    >>> number(12345.678, 1)
    '12,345.7'
    """
    return f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 1, space: str = "\u00a0") -> str:
    """A share as a percentage; by default a space that does not break stands before the sign.

    >>> percent(0.8612, space=" "), percent(0.5, 0, "")
    ('86.1 %', '50%')
    """
    return DASH if value is None else f"{number(value * 100, digits)}{space}%"


def brief(value: float) -> str:
    """A figure with three significant digits and no zeros behind: for costs.

    >>> brief(0.92), brief(44.23), brief(1234.5)
    ('0.92', '44.2', '1,234')
    """
    return number(value, 0) if abs(value) >= 1000 else f"{value:.3g}"


def shown(value: float | int | None) -> str:
    """A figure with about three digits after its first: small numbers keep more decimals than large ones.

    >>> shown(0.86123), shown(1234.5), shown(12), shown(None), shown(0.00012)
    ('0.861', '1,234', '12', '–', '0.00012')
    >>> shown(-0.5)
    '−0.500'
    """
    if value is None:
        return DASH
    if isinstance(value, int):
        return f"{value:,}"
    if value < 0:
        return f"−{shown(-value)}"
    size = value
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
    """An interval; dots stand between its ends where one is below zero, for a dash would be read as a sign.

    >>> span(0.85, 0.872), span(-0.5, 0.25), span(None, None)
    ('0.850–0.872', '−0.500 … 0.250', '')
    """
    if low is None or high is None:
        return ""
    return f"{shown(low)} … {shown(high)}" if min(low, high) < 0 else f"{shown(low)}–{shown(high)}"


def tick(value: float) -> str:
    """A round value at an axis, without zeros behind.

    >>> tick(0.45), tick(-5.0), tick(12000.0), tick(0.0)
    ('0.45', '−5', '12,000', '0')
    """
    return f"{round(value, 10):,.6g}".replace("-", "−")


def inner(name: str) -> str:
    """A name as it stands within a sentence: small, unless it is an abbreviation.

    >>> inner("Accuracy"), inner("ROC AUC"), inner("F1")
    ('accuracy', 'ROC AUC', 'F1')
    """
    return name[0].lower() + name[1:] if name[1:2].islower() else name


def leaves(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """What nested mappings hold, by dotted name, in the order of names.

    >>> list(leaves({"a": 1, "b": {"c": 2}}))
    [('a', 1), ('b.c', 2)]
    """
    for key, inside in sorted(value.items()):
        if isinstance(inside, Mapping):
            yield from leaves(inside, f"{before}{key}.")
        else:
            yield f"{before}{key}", inside


def text(value: Any) -> str:
    """Any JSON value on one line.

    >>> text({"a": 1, "b": ["x", "y"]})
    'a: 1, b: x; y'
    """
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return "; ".join(text(inner) for inner in value)
    return "" if value is None else str(value)
