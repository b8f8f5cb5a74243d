"""The training loop: time of a step beside a bare PyTorch loop, Lightning and the Hugging Face Trainer.

    python -m benchmarks.loop [--steps 300] [--quick]

All train the same model on the same rows, one thread each, every one in a process of its own; they take turns step by
step (`loop_model`). Luban, Lightning and the Trainer clip gradients, follow a schedule, log, ask validation rows every
50 steps and may stop early; the bare loop does nothing but gradients and steps of the same fused AdamW. `ratio` is
the median time of a step over that of the bare loop; its interval resamples rounds, in which each made one step.
`ratio_of_processor_time` is the same of seconds of the processor, which other work on the machine disturbs less.
Once for a model of steps of more than 20 ms, and once for a tiny one. Exit status 1 where the upper bound of Luban's
ratio on the larger model is above 1.05, or its steps are below 20 ms.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version

import numpy as np

from benchmarks.figures import RESAMPLES, bounds, emit
from benchmarks.peers import ONE_THREAD, ROOT, peer_python

NAME, WARM, MOST = "loop", 20, 1.05
PEER = (
    f"torch=={version('torch').partition('+')[0]}",
    "lightning==2.6.6",
    "transformers==5.23.0",
    "accelerate==1.15.0",
)
SIZES = ("20 ms", "tiny")
CONTENDERS = ("bare", "luban", "lightning", "trainer")


class Contender:
    """A process that trains, a step at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answer()

    def step(self) -> tuple[float, float]:
        """Seconds of one step, by the clock and of the processor."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> tuple[float, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("step "):
                return float(line.split()[1]), float(line.split()[2])
        raise SystemExit(f"{self._process.args} ended too early")


@contextmanager
def contender(name: str, size: str, steps: int) -> Iterator[Contender]:
    """A process that waits before its first step; ended afterwards."""
    here = ROOT / "benchmarks"
    if name == "luban":
        command = [sys.executable, str(here / "loop_ours.py"), size, str(steps)]
    else:
        python = sys.executable if name == "bare" else str(peer_python(*PEER))
        command = [python, str(here / "loop_peer.py"), name, size, str(steps)]
    environment = {**os.environ, **ONE_THREAD, "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield Contender(process)
        finally:
            process.kill()


def measured(size: str, steps: int) -> dict[str, np.ndarray]:
    """Seconds [steps, 2] of each contender's steps, by the clock and of the processor; the order turns every round."""
    with ExitStack() as stack:
        ready = {name: stack.enter_context(contender(name, size, WARM + steps + 10)) for name in CONTENDERS}
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTENDERS}
        for turn in range(WARM + steps):
            shift = turn % len(CONTENDERS)
            for name in CONTENDERS[shift:] + CONTENDERS[:shift]:
                found[name].append(ready[name].step())
    return {name: np.array(values[WARM:]) for name, values in found.items()}


def ratio_interval(ours: np.ndarray, theirs: np.ndarray) -> list[float]:
    """Interval of the ratio of medians; rounds are resampled, for both made their step in the same ones."""
    drawn = np.random.default_rng(0).integers(0, len(ours), (RESAMPLES, len(ours)))
    return bounds(np.median(ours[drawn], axis=1) / np.median(theirs[drawn], axis=1))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop")
    parser.add_argument("--steps", type=int, default=300, help="steps of each, after 20 to warm up")
    parser.add_argument("--quick", action="store_true", help="30 steps")
    asked = parser.parse_args()
    good = True
    for size in SIZES:
        taken = measured(size, 30 if asked.quick else asked.steps)
        for name in CONTENDERS:
            clock, processor = taken[name].T
            bare = taken["bare"][:, 0]
            interval = ratio_interval(clock, bare)
            emit(
                NAME,
                f"{name}, model: {size}",
                step_ms=round(float(np.median(clock)) * 1e3, 3),
                ratio=round(float(np.median(clock) / np.median(bare)), 4),
                interval=interval,
                ratio_of_processor_time=round(float(np.median(processor) / np.median(taken["bare"][:, 1])), 4),
                steps=len(bare),
            )
            if name == "luban" and size == SIZES[0] and not asked.quick:
                good = interval[1] <= MOST and float(np.median(bare)) >= 0.02
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
