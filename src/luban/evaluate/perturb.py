"""How a value may come written otherwise: the perturbations that robustness is measured under.

A perturbation says which column types it fits by how their values are kept and whether they are free-form, and
changes one value with a generator of its own; it must not change what a person would read. Decided here:
about one slip in twenty characters, at least one; Chinese characters are swapped or dropped, never replaced.
Knows no model.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from luban.features.base import Feature
from luban.features.characters import half_width

EVERY = 20
"""Characters for one slip."""
_FULL = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


@dataclass(frozen=True)
class Perturbation:
    """One way of writing otherwise. `change` gives another value, or the same where there is nothing to change."""

    name: str
    fits: Callable[[Feature], bool]
    change: Callable[[Any, random.Random], Any]


def is_text(feature: Feature) -> bool:
    """Whether values are kept as strings."""
    return bool(pa.types.is_string(feature.storage) or pa.types.is_large_string(feature.storage))


def is_typed_by_people(feature: Feature) -> bool:
    """Whether values are strings that a person wrote as they liked."""
    return is_text(feature) and feature.free_form


def is_number(feature: Feature) -> bool:
    """Whether values are kept as numbers."""
    return bool(pa.types.is_floating(feature.storage))


def typos(text: str, rng: random.Random) -> str:
    """Neighbouring characters swapped, or one dropped or doubled.

    >>> typos("delivery was late", random.Random(2))
    'delivery was laet'
    """
    characters = list(text)
    for _ in range(max(1, len(text) // EVERY)):
        places = [at for at, character in enumerate(characters) if character.isalnum()]
        if len(places) < 2:
            break
        at = rng.choice(places[:-1])
        slip = rng.choice(("swap", "drop", "drop" if characters[at] > "\u2e80" else "double"))
        if slip == "swap" and at + 1 < len(characters):
            characters[at], characters[at + 1] = characters[at + 1], characters[at]
        elif slip == "double":
            characters.insert(at, characters[at])
        else:
            del characters[at]
    return "".join(characters)


def spaces(text: str, rng: random.Random) -> str:
    """One more space in some places, and around the text.

    >>> spaces("ab cd", random.Random(0)).replace(" ", "") == "abcd"
    True
    """
    gaps = [at for at in range(1, len(text)) if text[at - 1].isspace() or text[at - 1] > "\u2e80"]
    chosen = set(rng.sample(gaps, min(len(gaps), max(1, len(text) // EVERY)))) if gaps else set()
    return " " + "".join(" " + character if at in chosen else character for at, character in enumerate(text)) + " "


def without_signs(text: str, rng: random.Random) -> str:
    """Punctuation and emoji removed; the text itself where nothing would be left.

    >>> without_signs("Late, again! 😡", random.Random(0))
    'Late again'
    """
    kept = "".join(" " if unicodedata.category(c)[0] in "PS" or c in "\ufe0f\u200d" else c for c in text)
    return " ".join(kept.split()) or text


def full_width(text: str, rng: random.Random) -> str:
    """ASCII as full-width forms.

    >>> full_width("A1!", random.Random(0))
    'Ａ１！'
    """
    return text.translate(_FULL)


def nudged(value: float, rng: random.Random) -> float:
    """The number, up to one in a hundred larger or smaller."""
    return value * rng.uniform(0.99, 1.01)


PERTURBATIONS = (
    Perturbation("typos", is_typed_by_people, typos),
    Perturbation("upper_case", is_text, lambda text, rng: text.upper()),
    Perturbation("lower_case", is_text, lambda text, rng: text.lower()),
    Perturbation("full_width", is_text, full_width),
    Perturbation("half_width", is_text, lambda text, rng: half_width(text)),
    Perturbation("spaces", is_text, spaces),
    Perturbation("without_signs", is_typed_by_people, without_signs),
    Perturbation("number_1_percent", is_number, nudged),
)
