"""Fine-tuning an encoder: time to the same validation score as the Hugging Face Trainer with its defaults.

    python -m benchmarks.fine_tune [--train 400] [--valid 200] [--seeds 3] [--quick]

all-MiniLM-L6-v2 learns to tell spam from other English mail (`minilm`): rows drawn from the corpus, other ones for each
seed, at most 128 tokens each. The score is the log loss on validation rows. The Trainer makes its 3 epochs and is
asked 9 times; its best score is the one to reach, and the time of its best evaluation the one to beat. Luban freezes
the embeddings and four of six layers, computes once what they give, sorts rows into batches of like length, and
follows a schedule. Time is that of training: evaluations, loading and tokenising are left out on both sides.
`luban`: precision as it measures it to be faster; `luban, fp32`: without that. Both sides take turns, on all cores.
Exit status 1 where Luban does not reach the score, or the median ratio is above ⅓.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.figures import emit, median
from benchmarks.loop import PEER
from benchmarks.minilm import encoder, mails
from benchmarks.peers import ROOT, asked, peer_python

NAME, MAX_TOKENS, EVALUATIONS, MOST = "fine_tune", 128, 9, 1 / 3
OURS = {"luban": "auto", "luban, fp32": "fp32"}


def evaluations(*command: str | Path) -> np.ndarray:
    """What a side says: [N, 4], seconds by the clock and of the processor, log loss, accuracy."""
    lines = asked(list(command)).splitlines()
    return np.array([json.loads(line) for line in lines if line.startswith("[")])


def rows(folder: Path, seed: int, train: int, valid: int) -> Path:
    """A file with the rows of a seed."""
    texts, spam = mails(train + valid, seed)
    labels = spam.astype(int).tolist()
    said = {
        "max_tokens": MAX_TOKENS,
        "train": [texts[:train], labels[:train]],
        "valid": [texts[train:], labels[train:]],
    }
    path = folder / f"{seed}.json"
    path.write_text(json.dumps(said), "utf-8")
    return path


def one_seed(path: Path, seed: int) -> dict[str, np.ndarray]:
    """Seconds to the Trainer's best score, by the clock and of the processor, by side; infinite where not reached."""
    here, model = ROOT / "benchmarks", encoder()
    peer = [peer_python(*PEER), here / "fine_tune_peer.py", model, path, str(seed), str(EVALUATIONS)]
    found = {"trainer": evaluations(*peer)}
    for name, precision in OURS.items():
        found[name] = evaluations(sys.executable, here / "fine_tune_ours.py", model, path, str(seed), precision)
    goal = found["trainer"][:, 2].min()
    taken = {}
    for name, said in found.items():
        there = said[said[:, 2] <= goal]
        taken[name] = there[0, :2] if len(there) else np.full(2, np.inf)
        emit(
            NAME,
            "a seed",
            side=name,
            seed=seed,
            to_reach=round(float(goal), 4),
            seconds=round(float(there[0, 0]), 1) if len(there) else None,
            processor_s=round(float(there[0, 1]), 1) if len(there) else None,
            accuracy_then=round(float(there[0, 3]), 4) if len(there) else None,
            best=round(float(said[:, 2].min()), 4),
            seconds_in_all=round(float(said[-1, 0]), 1),
        )
    return taken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fine_tune")
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--valid", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, 96 and 48 rows")
    asked_for = parser.parse_args()
    train, valid, seeds = (96, 48, 1) if asked_for.quick else (asked_for.train, asked_for.valid, asked_for.seeds)
    with tempfile.TemporaryDirectory() as folder:
        taken = [one_seed(rows(Path(folder), seed, train, valid), seed) for seed in range(seeds)]
    good = True
    for name in OURS:
        ratios, processor = np.transpose([each[name] / each["trainer"] for each in taken])
        reached = bool(np.isfinite(ratios).all())
        emit(
            NAME,
            f"{name}: time to the Trainer's best score",
            ratio_of_times=median(ratios) if reached else None,
            least_and_largest=[round(float(ratio), 4) for ratio in (ratios.min(), ratios.max())] if reached else None,
            ratio_of_processor_time=median(processor) if reached else None,
            rows=train,
            validation_rows=valid,
            cores=len(os.sched_getaffinity(0)),
        )
        good = good and (name != "luban" or (reached and median(ratios) <= MOST))
    return 0 if good or asked_for.quick else 1


if __name__ == "__main__":
    sys.exit(main())
