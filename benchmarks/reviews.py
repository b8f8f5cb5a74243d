"""Chinese reviews: what `luban run` makes of the template, beside linear models by scikit-learn on the same rows.

    python -m benchmarks.reviews [--seeds 5] [--quick]            # JSON lines; --quick: one seed, 20 s of training

For each seed (another split) a fresh project of the template is run by the command line. The peers are
fitted on the training and validation rows of that very dataset, copies and conflicts removed, and all answer its
test rows: `tfidf-1-2` (characters, C = 1), `tfidf-1-4` (sublinear counts, in two rows or more, C = 5), and
`average`: the mean probability of that and of its twin whose weights are multiplied by naive-Bayes log-count ratios
(Wang and Manning 2012). Luban chooses on validation rows, then fits what it chose on the same rows as the
peers.

`difference` is Luban's accuracy less the peer's on the same rows; reviews are resampled for its interval,
over all seeds together too, where one review may be tested more than once.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import emit, mcnemar, mean_interval, seconds
from benchmarks.projects import Made, luban, made, one_row
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID

NAME = "reviews"
PEERS = ("tfidf-1-2", "tfidf-1-4", "average")


def peers(texts: list[str], labels: np.ndarray, asked: list[str]) -> dict[str, np.ndarray]:
    """Who each peer takes the `asked` texts for, [M] bool by peer."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    short = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
    long = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True)
    first = make_pipeline(short, LogisticRegression(max_iter=1000)).fit(texts, labels)
    x, x_asked = long.fit_transform(texts), long.transform(asked)
    plain = LogisticRegression(C=5, solver="liblinear").fit(x, labels)
    praised, blamed = (np.asarray(x[rows].sum(axis=0)).ravel() + 1 for rows in (labels, ~labels))
    ratio = np.log(praised / praised.sum()) - np.log(blamed / blamed.sum())
    twin = LogisticRegression(C=5, solver="liblinear").fit(x.multiply(ratio).tocsr(), labels)
    alone = plain.predict_proba(x_asked)[:, 1]
    together = (alone + twin.predict_proba(x_asked.multiply(ratio).tocsr())[:, 1]) / 2
    return dict(zip(PEERS, (first.predict(asked), alone > 0.5, together > 0.5), strict=True))


def one_seed(seed: int, folder: Path, sets: list[str]) -> tuple[list[str], dict[str, np.ndarray]]:
    """The test rows' ids, and who was right on them: [M] bool for `luban` and each peer."""
    luban("init", folder, "--template", "chinese-reviews")
    project = made(folder, "run", [f"seed={seed}", *sets])
    learnt, test = project.rows("train", "valid"), project.rows("test")
    praise = np.array([row["label"] == "positive" for row in test])
    asked = [row["text"] for row in test]
    bundle = Bundle.load(project.bundle)
    said = np.array([label == "positive" for label in bundle.predict([{"text": t} for t in asked]).columns["label"]])
    answers = {"luban": said}

    def fit() -> None:
        answers.update(peers([r["text"] for r in learnt], np.array([r["label"] == "positive" for r in learnt]), asked))

    taken = seconds(fit)
    right = {name: answer == praise for name, answer in answers.items()}
    report(seed, project, bundle, right, taken, asked)
    return [row[ROW_ID] for row in test], right


def report(
    seed: int, project: Made, bundle: Bundle, right: dict[str, np.ndarray], taken: float, asked: list[str]
) -> None:
    """One line of accuracies, one of what was chosen and what it costs."""
    accuracy = {name: round(float(found.mean()), 4) for name, found in right.items()}
    emit(NAME, "accuracy", seed=seed, test_rows=len(asked), **accuracy, mcnemar_p=mcnemar(*list(right.values())[:2]))
    emit(
        NAME,
        "run",
        seed=seed,
        chosen=project.report["chosen"],
        run_s=round(project.seconds, 1),
        peers_s=round(taken, 1),
        bundle_mb=round(sum(f.stat().st_size for f in project.bundle.rglob("*") if f.is_file()) / 1e6, 1),
        **one_row(bundle, [{"text": text} for text in asked[:200]], 1000),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reviews")
    parser.add_argument("--seeds", type=int, default=5, help="how many splits")
    parser.add_argument("--quick", action="store_true", help="one seed, 20 s of training")
    asked = parser.parse_args()
    sets = ["train.time_budget_s=20"] if asked.quick else []
    ids: list[str] = []
    right: dict[str, list[np.ndarray]] = {name: [] for name in ("luban", *PEERS)}
    for seed in range(1 if asked.quick else asked.seeds):
        with tempfile.TemporaryDirectory() as folder:
            tested, found = one_seed(seed, Path(folder) / "reviews", sets)
        ids += tested
        for name, rows in found.items():
            right[name].append(rows)
    pooled = {name: np.concatenate(rows).astype(float) for name, rows in right.items()}
    for name in PEERS:
        gain = pooled["luban"] - pooled[name]
        emit(
            NAME,
            f"luban and {name}, all seeds",
            luban=round(float(pooled["luban"].mean()), 4),
            peer=round(float(pooled[name].mean()), 4),
            difference=round(float(gain.mean()), 4),
            interval=mean_interval(gain, ids),
            seeds=len(right[name]),
        )


if __name__ == "__main__":
    main()
