"""Chinese reviews with a pretrained encoder, allowed ten minutes, beside the linear vote on the same rows.

    python -m benchmarks.reviews_neural [--seeds 2] [--quick]     # JSON lines; --quick: one seed, 30 s of training

For each seed (another split) two fresh projects of the template are trained by the command line: `vote`, linear
models and their vote; and `neural`, whose `train.models` has `auto` and, before it, the encoder of `e5_small` trained
on, with `train.time_budget_s: 600`. Neither is refitted on its validation rows: both learn from the same rows, and a
second training would take a second ten minutes. Test rows are asked once, of the bundle.

`difference` is the accuracy of `neural` less that of `vote` on the same rows, with an interval by resampling reviews.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.e5_small import encoder
from benchmarks.figures import emit, mcnemar, mean_interval
from benchmarks.projects import luban, made, one_row
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID

NAME = "reviews_neural"
WORDS = {"bags": [{"analyzer": "word", "ngram_max": 3}]}
LINEAR = [
    {"kind": "linear", "weighting": "nb"},
    {"kind": "linear", **WORDS},
    "linear",
    {"kind": "linear", "weighting": "nb", **WORDS},
]
"""What `auto` tries of linear models where there is text."""
SETTINGS = ["train.refit=false", "train.learning_curve=false", "explain={methods: []}"]


def with_encoder() -> list[object]:
    """The encoder, trained on above its fifth layer, after the linear models; then all else that `auto` tries."""
    tower = {"kind": "pretrained", "model": str(encoder()), "max_tokens": 96}
    recipe = {"frozen_layers": 5, "epochs": 3, "batch_rows": 32}
    return [*LINEAR, {"kind": "neural", "tower": tower, "recipe": recipe}, "auto"]


def trained(folder: Path, seed: int, models: list[object], budget_s: float) -> tuple[list[str], np.ndarray]:
    """The test rows' ids, and on which of them the released model is right, [M] bool."""
    luban("init", folder, "--template", "chinese-reviews")
    sets = [f"seed={seed}", f"train.models={json.dumps(models)}", f"train.time_budget_s={budget_s:g}", *SETTINGS]
    project = made(folder, "train", sets)
    test = project.rows("test")
    bundle = Bundle.load(project.bundle)
    asked = [{"text": row["text"]} for row in test]
    said = bundle.predict(asked).columns["label"]
    emit(
        NAME,
        folder.name,
        seed=seed,
        chosen=project.report["chosen"],
        tried=sum(row["status"] == "trained" for row in project.report["leaderboard"]) - 1,
        train_s=round(project.seconds, 1),
        bundle_mb=round(sum(f.stat().st_size for f in project.bundle.rglob("*") if f.is_file()) / 1e6, 1),
        **one_row(bundle, asked[:100], 200),
    )
    return [row[ROW_ID] for row in test], np.array([a == row["label"] for a, row in zip(said, test, strict=True)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reviews_neural")
    parser.add_argument("--seeds", type=int, default=2, help="how many splits")
    parser.add_argument("--quick", action="store_true", help="one seed, 30 s of training")
    asked = parser.parse_args()
    ids: list[str] = []
    right: dict[str, list[np.ndarray]] = {"vote": [], "neural": []}
    for seed in range(1 if asked.quick else asked.seeds):
        with tempfile.TemporaryDirectory() as place:
            budget = 30 if asked.quick else 600
            tested, vote = trained(Path(place) / "vote", seed, [*LINEAR, "vote"], budget)
            same, neural = trained(Path(place) / "neural", seed, with_encoder(), budget)
        assert tested == same, "the same split"
        ids += tested
        right["vote"].append(vote)
        right["neural"].append(neural)
        accuracy = {name: round(float(found[-1].mean()), 4) for name, found in right.items()}
        emit(NAME, "accuracy", seed=seed, test_rows=len(tested), **accuracy, mcnemar_p=mcnemar(neural, vote))
    pooled = {name: np.concatenate(found).astype(float) for name, found in right.items()}
    gain = pooled["neural"] - pooled["vote"]
    emit(
        NAME,
        "neural less the linear vote, all seeds",
        vote=round(float(pooled["vote"].mean()), 4),
        neural=round(float(pooled["neural"].mean()), 4),
        difference=round(float(gain.mean()), 4),
        interval=mean_interval(gain, ids),
        seeds=len(right["vote"]),
    )


if __name__ == "__main__":
    main()
