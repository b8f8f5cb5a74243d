"""Pictures: a project of picture files beside scikit-learn's logistic regression on the pixels, on the same rows.

    python -m benchmarks.pictures [--rows 6000] [--seeds 2] [--quick]

Handwritten digits of scikit-learn (1,797 of 8 × 8) and the first of Fashion-MNIST's training pictures (28 × 28), as
Debian ships them; both are written as PNG files, a folder a class, and `luban run` is told nothing but the
family: `models: [linear]`. The peer gets the decoded pixels, standardised, with the C of 0.001 to 1 that is best on the
validation rows, and is then fitted on training and validation rows. So what is measured is the vector that a
column of pictures gives, and that all of the way from files to answers works.
"""

from __future__ import annotations

import argparse
import gzip
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import emit, mcnemar, mean_interval
from benchmarks.projects import Made, made, one_row
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID
from luban.data.sources.index import Index, Pin, fetched

NAME = "pictures"
FASHION = Pin(
    Index.DEBIAN,
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "sdist",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
)
FILES = "usr/share/datasets/fashion-mnist"


def digits(rows: int) -> Iterator[tuple[np.ndarray, int]]:
    """Pictures [8, 8] uint8 and their classes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    for pixels, label in zip(found.images[:rows], found.target[:rows], strict=True):
        yield (pixels * 255 / 16).astype(np.uint8), int(label)


def fashion(rows: int) -> Iterator[tuple[np.ndarray, int]]:
    """Pictures [28, 28] uint8 and their classes."""
    folder = fetched(FASHION) / FILES
    pixels, labels = (
        np.frombuffer(gzip.decompress((folder / f"train-{name}-ubyte.gz").read_bytes()), np.uint8)
        for name in ("images-idx3", "labels-idx1")
    )
    yield from zip(pixels[16:].reshape(-1, 28, 28)[:rows], labels[8 : 8 + rows].tolist(), strict=True)


def project(folder: Path, pictures: Iterator[tuple[np.ndarray, int]]) -> None:
    """A project of PNG files, a folder a class."""
    from PIL import Image

    for number, (pixels, label) in enumerate(pictures):
        path = folder / "pictures" / str(label) / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / "luban.yaml").write_text(
        "name: pictures\nowner: benchmarks\npurpose: Tell pictures apart.\n"
        "data: {source: pictures, target: label}\ntrain: {models: [linear]}\nexplain: {num_examples: 0, num_rows: 0}\n",
        "utf-8",
    )


def pixels_of(rows: list[dict[str, Any]]) -> np.ndarray:
    """Grey pixels [B, D] of rows."""
    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(row["image"]))).ravel() / 255.0 for row in rows])


def peer_right(found: Made) -> np.ndarray:
    """Whether the peer is right [B], of test rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, valid, test = (found.rows(split) for split in ("train", "valid", "test"))
    y = [np.array([row["label"] for row in rows]) for rows in (train, valid, test)]
    x = [pixels_of(rows) for rows in (train, valid, test)]

    def fitted(c: float, parts: int) -> Any:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300))
        return model.fit(np.concatenate(x[:parts]), np.concatenate(y[:parts]))

    best = max((0.001, 0.01, 0.1, 1.0), key=lambda c: float(fitted(c, 1).score(x[1], y[1])))
    return np.asarray(fitted(best, 2).predict(x[2]) == y[2])


def main() -> None:
    """Both sets."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, default=6000)
    asked.add_argument("--seeds", type=int, default=2)
    asked.add_argument("--quick", action="store_true")
    options = asked.parse_args()
    rows, seeds = (400, 1) if options.quick else (options.rows, options.seeds)
    for name, pictures in (("digits", digits), ("fashion-mnist", fashion)):
        right: dict[str, list[np.ndarray]] = {"luban": [], "peer": []}
        ids: list[str] = []
        took: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            project(Path(folder), pictures(rows))
            for seed in range(seeds):
                found = made(Path(folder), "run", [f"seed={seed}"])
                test = found.rows("test")
                bundle = Bundle.load(found.bundle)
                answers = bundle.predict(test).columns["label"]
                right["luban"].append(np.array([a == row["label"] for a, row in zip(answers, test, strict=True)]))
                right["peer"].append(peer_right(found))
                ids += [row[ROW_ID] for row in test]
                took.append(found.seconds)
            speed = one_row(bundle, [{"image": row["image"]} for row in test[:50]], 200)
        ours, theirs = (np.concatenate(right[who]) for who in ("luban", "peer"))
        difference = ours.astype(float) - theirs
        emit(
            NAME,
            name,
            seeds=seeds,
            test_rows=len(ours),
            luban=round(float(ours.mean()), 4),
            peer=round(float(theirs.mean()), 4),
            difference=round(float(difference.mean()), 4),
            interval=mean_interval(difference, ids),
            mcnemar_p=mcnemar(right["luban"][0], right["peer"][0]),
            run_s=round(float(np.mean(took)), 1),
            **speed,
        )


if __name__ == "__main__":
    main()
