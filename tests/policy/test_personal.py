"""Recognisers of personal data: what they find, what they leave alone, and that spans are honest."""

from __future__ import annotations

import itertools
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.policy.personal import CARD, EMAIL, IDENTITY, PHONE, find, is_card_number, is_identity_number, is_wholly

CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("致电13812345678，或写信到 li.lei@example.com。", [(EMAIL, "li.lei@example.com"), (PHONE, "13812345678")]),
        ("电话：１３８１２３４５６７８", [(PHONE, "１３８１２３４５６７８")]),
        ("138-1234-5678 or +86 138 1234 5678", [(PHONE, "138-1234-5678"), (PHONE, "+86 138 1234 5678")]),
        ("tel13812345678", [(PHONE, "13812345678")]),
        ("010-62345678转801", [(PHONE, "010-62345678")]),
        ("call +44 20 7946 0958 or (415) 555-2671", [(PHONE, "+44 20 7946 0958"), (PHONE, "(415) 555-2671")]),
        ("身份证11010519491231002x", [(IDENTITY, "11010519491231002x")]),
        ("卡号6222 0212 3456 7890 128", [(CARD, "6222 0212 3456 7890 128")]),
        ("4111-1111-1111-1111;378282246310005", [(CARD, "4111-1111-1111-1111"), (CARD, "378282246310005")]),
    ],
)
def test_what_is_found(text: str, found: list[tuple[str, str]]) -> None:
    assert [(span.kind, text[span.start : span.end]) for span in find(text)] == found


@pytest.mark.parametrize(
    "text",
    [
        "订单号 20240101138123456781", "2024-01-01 12:00:00 共5000元", "价格 13812345678.5 元", "1381234567",
        "11111111111", "13800000000", "a@b", "user@公司.com", "版本 1.2.3.4", "192.168.100.200", "3.14159265358979",
        "110105194912310021", "110105194913310028", "4111 1111 1111 1112", "9111111111111111",
        "", "房间很干净", "ISBN 978-7-111-12345-6",
    ],
)  # fmt: skip
def test_what_is_left_alone(text: str) -> None:
    assert list(find(text)) == []


def identity(body: str) -> str:
    """17 digits with their check digit, by the standard's formula (sum of 2ⁱ aᵢ is 1 modulo 11)."""
    for check in "0123456789X":
        total = sum((10 if c == "X" else int(c)) * pow(2, i, 11) for i, c in enumerate(reversed(body + check)))
        if total % 11 == 1:
            return body + check
    raise AssertionError


@CALM
@given(st.integers(110000, 659999), st.integers(1, date.max.toordinal()), st.integers(0, 999))
def test_identity_numbers_have_one_check_digit(region: int, born: int, order: int) -> None:
    body = f"{region}{date.fromordinal(born).isoformat().replace('-', '')}{order:03d}"
    good = identity(body)
    valid = [check for check in "0123456789X" if is_identity_number(body + check)]
    assert valid == ([good[-1]] if 1900 <= int(body[6:10]) <= 2100 else [])


@CALM
@given(st.integers(0, 10**14 - 1), st.integers(0, 15), st.integers(1, 9))
def test_a_card_with_one_digit_changed_is_none(middle: int, place: int, change: int) -> None:
    body = f"4{middle:014d}"
    (number,) = [body + check for check in "0123456789" if is_card_number(body + check)]
    if place:
        other = number[:place] + str((int(number[place]) + change) % 10) + number[place + 1 :]
        assert not is_card_number(other)


@CALM
@given(st.text(alphabet="0123456789+-() .@abcX电，６"))
def test_spans_lie_inside_and_apart(text: str) -> None:
    spans = sorted(find(text), key=lambda span: span.start)
    for span in spans:
        assert 0 <= span.start < span.end <= len(text)
    for one, other in itertools.pairwise(spans):
        assert one.end <= other.start


def test_wholly() -> None:
    assert is_wholly(" 13812345678 ", PHONE)
    assert not is_wholly("电话 13812345678", PHONE)
    assert not is_wholly("13812345678", EMAIL)
