"""The words of the page's sections, by language: the same keys and blanks in each. Merged into `wording.TEXT`."""

from __future__ import annotations

from typing import Literal

from luban.evaluate.page.words_en import ENGLISH
from luban.evaluate.page.words_zh import CHINESE

SECTIONS: dict[Literal["en", "zh"], dict[str, str]] = {"en": ENGLISH, "zh": CHINESE}
