"""Made-up texts for `near_duplicates`: like Chinese and like English reviews, a third of them edited copies.

From a seed; words follow Zipf's law, copies have the mistakes of people who type. Knows nothing of similarity.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate


class Language:
    """Words by a Zipf law, sentences of some stock phrases and some words, texts of log-normal length."""

    def __init__(self, draw: random.Random, letters: str, word: tuple[int, int], space: str, stops: str) -> None:
        self.draw, self.space, self.stops = draw, space, stops
        self.words = ["".join(draw.choices(letters, k=draw.randint(*word))) for _ in range(5000)]
        self.weights = list(accumulate(1 / (rank + 3) for rank in range(len(self.words))))
        self.stock = [self._sentence(8) for _ in range(60)]

    def _sentence(self, words: int) -> str:
        total = self.weights[-1]
        picked = [self.words[bisect(self.weights, self.draw.random() * total)] for _ in range(words)]
        return self.space.join(picked) + self.draw.choice(self.stops)

    def text(self) -> str:
        """A new text of some 20 to 500 characters."""
        count = max(1, min(20, round(self.draw.lognormvariate(1.3, 0.7))))
        draw = self.draw
        parts = [
            draw.choice(self.stock) if draw.random() < 0.12 else self._sentence(draw.randint(3, 12))
            for _ in range(count)
        ]
        return self.space.join(parts)


def corpus(count: int, seed: int) -> Iterator[str]:
    """Texts in both languages; a third are copies of one of the 5,000 last originals, with typed edits."""
    draw = random.Random(seed)
    chinese = Language(draw, "".join(map(chr, range(0x4E00, 0x4E00 + 1500))), (1, 3), "", ",。!")
    english = Language(draw, "eeettaaoinshrdlucmfwypvbgk", (2, 9), " ", ".,!")
    originals: list[str] = []
    for number in range(count):
        if number and draw.random() < 1 / 3:
            yield edited(originals[draw.randrange(len(originals))], draw, (chinese, english))
            continue
        text = (chinese if draw.random() < 0.5 else english).text()
        if len(originals) < 5000:
            originals.append(text)
        else:
            originals[draw.randrange(5000)] = text
        yield text


def edited(text: str, draw: random.Random, languages: Sequence[Language]) -> str:
    """A copy as people make them: characters replaced, inserted, left out, swapped; a sentence added or lost."""
    letters = list(text)
    for _ in range(draw.randint(0, 1 + len(text) // 30)):
        at, kind = draw.randrange(len(letters)), draw.randrange(4)
        other = draw.choice(draw.choice(languages).words)[0]
        if kind == 0:
            letters[at] = other
        elif kind == 1:
            letters.insert(at, other)
        elif kind == 2 and len(letters) > 1:
            del letters[at]
        elif kind == 3:
            letters[at : at + 2] = letters[at : at + 2][::-1]
    if draw.random() < 0.15:
        letters += draw.choice(draw.choice(languages).stock)
    elif draw.random() < 0.1 and len(letters) > 20:
        letters = letters[: -draw.randint(1, len(letters) // 5)]
    return "".join(letters)
