"""N-gram extraction against scikit-learn's vectoriser: same answer, how many times faster.

    python -m benchmarks.ngrams [--texts FILE] [--repeats 30] [--quick]

Both sides get the same vocabulary (1–4-grams of characters, in two training rows or more, sublinear, idf,
unit length) and take turns in one process, so that load on the machine falls on both. Per number of
rows one JSON line: the median of the paired ratios (how many times faster Luban is) and a bootstrap interval of it,
medians in milliseconds, and the largest difference of any weight. Texts are one a line (a file of reviews), or made
from a seed, with the lengths of hotel reviews and words that follow Zipf's law. Exit status 1 where an
answer differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.figures import emit, median, median_interval, seconds, turns
from luban.features.bag import NgramBag
from luban.features.kinds import BagConfig

NAME, TRAIN, LARGEST_DIFFERENCE = "ngrams", 14_000, 1e-6
CONFIG = BagConfig()


def made(count: int, seed: int = 0) -> list[str]:
    """Texts of 8,000 made-up words of one to three Chinese characters, about 75 characters long."""
    rng = np.random.default_rng(seed)
    characters = [chr(0x4E00 + int(i)) for i in rng.integers(0, 3500, 3500)]
    ranks = 1 / np.arange(1, 3501)
    words = ["".join(rng.choice(characters, rng.integers(1, 4), p=ranks / ranks.sum())) for _ in range(8000)]
    shares = 1 / np.arange(1, len(words) + 1)
    texts = []
    for length in rng.lognormal(3.3, 0.7, count).astype(int) + 1:
        picked = rng.choice(len(words), length, p=shares / shares.sum())
        texts.append("".join(words[i] + ("，" if i % 7 == 0 else "") for i in picked))
    return texts


def difference(ours: NgramBag, theirs: TfidfVectorizer, texts: list[str]) -> float:
    """Largest difference of any weight."""
    parts = ours.encode(texts).parts
    expected = theirs.transform(texts)
    found = csr_matrix((parts["weights"], parts["ids"] - 2, parts["offsets"]), shape=expected.shape)
    return float(abs(found - expected).max())


def compare(ours: NgramBag, theirs: TfidfVectorizer, texts: list[str], rows: int, repeats: int) -> float:
    """Print the line of `rows` rows at a time; gives the largest difference of any weight."""
    batches = [[str(text) for text in texts[i * rows : (i + 1) * rows]] for i in range(len(texts) // rows)]
    calls: dict[str, Callable[[list[str]], object]] = {"ours": ours.encode, "theirs": theirs.transform}
    for call in calls.values():
        call(batches[0])
    queues = {name: cycle(batches) for name in calls}
    taken = turns({n: lambda n=n: seconds(lambda: calls[n](next(queues[n]))) for n in calls}, repeats)  # type: ignore[misc]
    largest = max(difference(ours, theirs, batch) for batch in batches[:50])
    emit(
        NAME,
        "rows at once",
        rows=rows,
        times_faster=median(taken["theirs"] / taken["ours"], 2),
        interval=median_interval(taken["theirs"] / taken["ours"], 2),
        luban_ms=median(taken["ours"] * 1e3, 3),
        scikit_learn_ms=median(taken["theirs"] * 1e3, 3),
        repeats=repeats,
        largest_difference=largest,
    )
    return largest


def texts_of(path: Path | None) -> list[str]:
    """The distinct texts of a file in a fixed random order, or made ones."""
    if path is None:
        return made(TRAIN + 3000)
    texts = sorted({line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()})
    return [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ngrams")
    parser.add_argument("--texts", type=Path, help="one text a line, UTF-8; made from a seed if left out")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="three repeats")
    asked = parser.parse_args()
    texts = texts_of(asked.texts)
    train, held = texts[: len(texts) * 4 // 5][:TRAIN], texts[len(texts) * 4 // 5 :]
    start = time.perf_counter()
    ours = NgramBag.fit(train, CONFIG, 0, None)
    fitted = time.perf_counter() - start
    theirs = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
    taken = seconds(lambda: theirs.fit(train))
    same = ours.vocabulary == sorted(theirs.vocabulary_)
    emit(
        NAME,
        "fit",
        rows=len(train),
        terms=len(ours.vocabulary),
        same_vocabulary=same,
        luban_s=round(fitted, 3),
        scikit_learn_s=round(taken, 3),
    )
    repeats = 3 if asked.quick else asked.repeats
    worst = max(compare(ours, theirs, held, rows, times) for rows, times in ((1, repeats * 20), (1000, repeats)))
    return 0 if same and worst <= LARGEST_DIFFERENCE else 1


if __name__ == "__main__":
    sys.exit(main())
