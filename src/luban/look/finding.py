"""One thing that was seen: a code, the column it is about, and figures. No value of a row is in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from luban.look.words import PHRASES, SENTENCES, Language, in_words

Level = Literal["warn", "note"]
Figure = int | float | str


@dataclass(frozen=True)
class Finding:
    """`level` warn: something to decide on before training; note: good to know.

    Figures that are fractions are shares and are shown as percentages.
    """

    code: str
    level: Level
    column: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)

    def sentence(self, language: Language) -> str:
        """What was seen, and what to do about it."""
        return self._filled(SENTENCES[language][self.code], language)

    def brief(self, language: Language) -> str:
        """Why its column is left out, in a few words."""
        return self._filled(PHRASES[language][f"apart-{self.code}"], language)

    def _filled(self, text: str, language: Language) -> str:
        shown = {name: in_words(name, written(value), language) for name, value in self.figures.items()}
        return text.format(column=f"`{self.column}`", **shown)


def written(value: Figure) -> str:
    """A figure for people: counts with commas, shares as percentages.

    >>> written(12345), written(0.256), written(0.0004), written("city")
    ('12,345', '26%', '<0.1%', 'city')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if 0 < value < 0.001:
        return "<0.1%"
    return f"{value:.1%}" if value < 0.1 or 0.9 < value < 1 else f"{value:.0%}"
