"""`luban train` killed in the middle of a network's training: the next call goes on, and makes the same bundle."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

from waiting import until

from .project import Process, Tiny, finish

TRAIN = {
    "models": [
        {
            "kind": "neural",
            "tower": {"kind": "conv", "filters": 16},
            "recipe": {"epochs": 12, "patience": 12, "precision": "fp32", "average": "ema", "checkpoint_every_s": 0.01},
        }
    ],
    "time_budget_s": 600,
    "refit": False,
    "num_threads": 1,
}


def trained(tiny: Tiny) -> Path:
    """The folder that `train` left."""
    (found,) = (Path(tiny.store.url) / "default" / "trees").glob("*/training.json")
    return found.parent


def unfinished(tiny: Tiny) -> list[Path]:
    return list((tiny.folder / ".luban" / "default" / "unfinished").glob("*"))


def after_the_first_checkpoint(tiny: Tiny) -> Process:
    process = tiny.start("train", "--json")
    until(lambda: process.poll() is not None or unfinished(tiny), every_s=0.001)
    return process


def undisturbed(tiny: Tiny) -> float:
    """A call that nothing happens to; how long it goes on after its first checkpoint, in seconds."""
    process = after_the_first_checkpoint(tiny)
    began = time.monotonic()
    while unfinished(tiny):
        time.sleep(0.001)
    seconds = time.monotonic() - began
    answer = finish(process)
    assert answer.status == 0, answer.err
    return seconds


def killed_in_training(tiny: Tiny, seconds: float) -> int:
    """A call that is killed at a random instant of so long after its first checkpoint; gives the bytes it left."""
    process = after_the_first_checkpoint(tiny)
    time.sleep(random.Random().uniform(0, seconds))
    process.kill()
    finish(process)
    return sum(path.stat().st_size for path in unfinished(tiny))


def test_killed_in_mid_epoch(tmp_path: Path) -> None:
    sound, killed = (Tiny.made(tmp_path / name, train=TRAIN) for name in ("sound", "killed"))
    seconds = undisturbed(sound)
    assert killed_in_training(killed, seconds / 3) > 0
    killed.done("train", "--json")
    assert unfinished(killed) == unfinished(sound) == []
    ours, theirs = trained(killed), trained(sound)
    assert (ours / "checkpoint.safetensors").read_bytes() == (theirs / "checkpoint.safetensors").read_bytes()
    manifests = [json.loads((folder / "bundle" / "manifest.json").read_bytes()) for folder in (ours, theirs)]
    assert manifests[0]["identity"] == manifests[1]["identity"]
    decisions = [json.loads((folder / "decisions.json").read_bytes())["train"] for folder in (ours, theirs)]
    assert decisions[0]["neural:steps"] == decisions[1]["neural:steps"]
    curve = json.loads((ours / "training.json").read_bytes())["curves"]["neural"]
    assert [row["step"] for row in curve][-1] == decisions[0]["neural:steps"]["steps"]
    assert all(row["valid"] > 0 and row["loss"] > 0 for row in curve)
