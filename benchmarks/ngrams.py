"""N-gram extraction against scikit-learn's vectoriser: same answer, how many times faster.

    python benchmarks/ngrams.py [--texts FILE] [--repeats 30]

Both sides get the same vocabulary (1–4-grams of characters, in two training rows or more, sublinear, idf,
unit length) and take turns in one process, so that load on the machine falls on both. Per number of
rows one JSON line: the median of the paired ratios (theirs / ours) and a bootstrap interval of it, medians
in milliseconds, and the largest difference of any weight. Texts are one a line (a file of reviews), or made
from a seed, with the lengths of hotel reviews and words that follow Zipf's law. Exit status 1 where an
answer differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from luban.features.bag import NgramBag
from luban.features.kinds import BagConfig

TRAIN, LARGEST_DIFFERENCE = 14_000, 1e-6


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


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def interval(ratios: np.ndarray, seed: int = 0) -> list[float]:
    """95 % bootstrap interval of the median."""
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return [round(float(bound), 2) for bound in np.percentile(medians, [2.5, 97.5])]


def difference(ours: NgramBag, theirs: TfidfVectorizer, texts: list[str]) -> float:
    """Largest difference of any weight."""
    parts = ours.encode(texts).parts
    expected = theirs.transform(texts)
    found = csr_matrix((parts["weights"], parts["ids"] - 2, parts["offsets"]), shape=expected.shape)
    return float(abs(found - expected).max())


def compare(ours: NgramBag, theirs: TfidfVectorizer, texts: list[str], rows: int, repeats: int) -> dict[str, object]:
    batches = [[str(text) for text in texts[i * rows : (i + 1) * rows]] for i in range(len(texts) // rows)]
    times = []
    for repeat in range(repeats + 2):
        batch = batches[repeat % len(batches)]
        pair = (seconds(lambda b=batch: ours.encode(b)), seconds(lambda b=batch: theirs.transform(b)))
        times.append(pair)
    mine, peer = np.array(times[2:]).T
    return {
        "benchmark": "ngrams",
        "rows": rows,
        "ratio": round(float(np.median(peer / mine)), 2),
        "interval": interval(peer / mine),
        "ours_ms": round(float(np.median(mine)) * 1e3, 3),
        "theirs_ms": round(float(np.median(peer)) * 1e3, 3),
        "repeats": repeats,
        "largest_difference": max(difference(ours, theirs, batch) for batch in batches[:50]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, help="one text a line, UTF-8; made from a seed if left out")
    parser.add_argument("--repeats", type=int, default=30)
    asked = parser.parse_args()
    texts = made(TRAIN + 3000)
    if asked.texts is not None:
        lines = asked.texts.read_text("utf-8").splitlines()
        texts = sorted({line.strip() for line in lines if line.strip()})
        texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    train, held = texts[: len(texts) * 4 // 5][:TRAIN], texts[len(texts) * 4 // 5 :]
    theirs = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
    fits = {}
    ours = NgramBag.fit(train[:100], BagConfig(), 0, None)

    def fit_ours() -> None:
        nonlocal ours
        ours = NgramBag.fit(train, BagConfig(), 0, None)

    fits["ours_s"], fits["theirs_s"] = seconds(fit_ours), seconds(lambda: theirs.fit(train))
    same = ours.vocabulary == sorted(theirs.vocabulary_)
    fit = {"benchmark": "ngrams-fit", "rows": len(train), "terms": len(ours.vocabulary), "same_vocabulary": same}
    print(json.dumps(fit | {name: round(value, 3) for name, value in fits.items()}))
    good = same
    for rows, repeats in ((1, asked.repeats * 20), (1000, asked.repeats)):
        line = compare(ours, theirs, held, rows, repeats)
        print(json.dumps(line))
        good = good and float(str(line["largest_difference"])) <= LARGEST_DIFFERENCE
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
