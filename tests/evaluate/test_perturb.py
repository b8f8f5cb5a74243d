"""Ways of writing otherwise: they fit by how values are kept, change little, and never fail."""

from __future__ import annotations

import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.catalog import FEATURES
from luban.evaluate.perturb import PERTURBATIONS, Perturbation, full_width, spaces, typos, without_signs
from luban.features.base import Feature
from luban.features.characters import half_width

TEXTS = [one for one in PERTURBATIONS if one.name != "number_1_percent"]


@pytest.mark.parametrize("kind", FEATURES.own())
def test_every_column_type_is_asked_and_none_named(kind: str) -> None:
    feature: Feature = FEATURES.make(kind)
    fitting = {one.name for one in PERTURBATIONS if one.fits(feature)}
    assert "number_1_percent" not in fitting or len(fitting) == 1
    if feature.free_form and "upper_case" in fitting:
        assert fitting == {one.name for one in TEXTS}


@pytest.mark.parametrize("perturbation", TEXTS, ids=lambda one: one.name)
@given(text=st.text(min_size=1), seed=st.integers(0, 99))
def test_any_text_gives_a_text_and_the_same_seed_the_same(perturbation: Perturbation, text: str, seed: int) -> None:
    found = perturbation.change(text, random.Random(seed))
    assert isinstance(found, str)
    assert found == perturbation.change(text, random.Random(seed))
    assert len(found) <= 4 * len(text) + 4


@given(st.text(alphabet="abcdefgh 中文好吃", min_size=8, max_size=200), st.integers(0, 99))
def test_typos_are_few(text: str, seed: int) -> None:
    found = typos(text, random.Random(seed))
    slips = max(1, len(text) // 20)
    assert abs(len(found) - len(text)) <= slips
    changed = sum(a != b for a, b in zip(sorted(text), sorted(found), strict=False))
    assert changed <= len(text)
    assert set(found) <= set(text), "no character is made up"


@given(st.text(), st.integers(0, 99))
def test_spaces_are_all_that_spaces_add(text: str, seed: int) -> None:
    assert "".join(spaces(text, random.Random(seed)).split()) == "".join(text.split())


def test_what_is_made_full_width_is_made_half_width_again() -> None:
    plain = "Order #12: 3.5 kg, 好!"
    assert half_width(full_width(plain, random.Random(0))) == plain
    assert unicodedata.normalize("NFKC", full_width(plain, random.Random(0))) == plain


def test_a_text_of_signs_alone_stays() -> None:
    assert without_signs("!!!", random.Random(0)) == "!!!"
    assert without_signs("很好👍🏽，谢谢", random.Random(0)) == "很好 谢谢"
