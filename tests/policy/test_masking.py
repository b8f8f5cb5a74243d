"""What is masked before it may stand in a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.policy.masking import mask
from luban.policy.personal import kinds_in


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("stars: cannot read '11010519491231002X'", "stars: cannot read '[identity number]'"),
        ("card 4111 1111 1111 1111.", "card [bank card]."),
        ("致电１３８１２３４５６７８", "致电[phone number]"),
        ("a@example.com, b@example.com", "[e-mail], [e-mail]"),
        ("key luban_3f9a_abcdefghijklmnop-_12", "key [API key]"),
        ("Authorization: Bearer abcdefghij", "Authorization: Bearer [secret]"),
        ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln is used", "[token] is used"),
        ("postgresql://ada:secret@host/db", "postgresql://[secret]@host/db"),
        ("12 rows in 3.25 s", "12 rows in 3.25 s"),
    ],
)
def test_masks(text: str, masked: str) -> None:
    assert mask(text) == masked


def test_long_texts_are_cut() -> None:
    assert mask("x" * 10_000, 100) == "x" * 99 + "…"
    assert len(mask("13812345678 " * 10_000, 500)) == 500


@given(st.text(alphabet="0123456789 -+a@.", max_size=60))
def test_nothing_that_is_found_stays(text: str) -> None:
    assert not kinds_in(mask(text))


def test_many_of_them_in_one_text() -> None:
    """What is logged of an exception may quote what a client sent: each is masked, and none twice."""
    assert mask("a.b@c.de " * 3000, 30_000) == "[e-mail] " * 3000
    assert mask("eyJaaaaaaaa-" * 1000 + ".b.c eyJaaaaaaaa.b.c", 30_000) == "[token] [token]"
    assert mask("11010519491231002X 13812345678 " * 500, 30_000) == "[identity number] [phone number] " * 500
