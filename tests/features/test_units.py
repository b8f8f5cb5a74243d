"""A unit behind nearly all numbers of a column is found and stated."""

from __future__ import annotations

import pytest

from luban.features.number import Number


@pytest.mark.parametrize(("unit", "written"), [("平米", "{}平米"), ("kg", "{} kg"), ("天", "{}天")])
def test_unit_is_found(unit: str, written: str) -> None:
    sample = [written.format(n) for n in ("74", "80.5", "1,200", "95")]
    guess = Number().infer(sample)
    assert guess is not None
    assert guess.settings == {"unit": unit}
    assert Number(Number.Config.model_validate(guess.settings)).parse_value(sample[2]) == 1200


@pytest.mark.parametrize("sample", [["12 kg", "3 m", "7 s"], ["a1b", "c2d"], ["v1", "v2"], ["12 kg", "heavy", "light"]])
def test_no_unit(sample: list[str]) -> None:
    guess = Number().infer(sample)
    assert guess is None or not guess.settings


def test_currency_needs_no_unit() -> None:
    guess = Number().infer(["1,200 元", "300 元"])
    assert guess is not None
    assert guess.settings == {}
