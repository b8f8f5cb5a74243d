"""Projects that benchmarks make and run: by the command line, as a user would, and then looked into.

Decided here: what is timed is a process of `luban`; what it made is then found through the same public calls
(`luban.lifecycle`), which find everything kept and make nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import place
from luban import lifecycle
from luban.bundle.bundle import Bundle
from luban.data.dataset import ROW_ID, Dataset
from luban.project import load_project
from luban.release.registry import Registry
from luban.workshop import Workshop

LUBAN = str(Path(sys.executable).parent / "luban")
STATE_IS_THE_PROJECTS = {
    name: value for name, value in os.environ.items() if name not in ("LUBAN_STORE", "LUBAN_LEDGER")
}

FORCED = "its cost is measured, not its answers"
"""Why what a gate refuses is released all the same: on a busy machine an answer takes longer than the budget allows."""


@dataclass(frozen=True)
class Made:
    """A project after `luban run` or `luban train`: its dataset, its bundle, its leaderboard, seconds it took."""

    dataset: Dataset
    bundle: Path
    report: Mapping[str, Any]
    seconds: float

    def rows(self, *splits: str) -> list[dict[str, Any]]:
        """Prepared rows of these splits: inputs, target and `_row_id`."""
        names = [*(column.name for column in self.dataset.schema.inputs), self.target, ROW_ID]
        return [row for split in splits for row in self.dataset.table(names, split).to_pylist()]  # type: ignore[arg-type]

    @property
    def target(self) -> str:
        """Name of the target column."""
        target = self.dataset.schema.target
        assert target is not None
        return target.name


def luban(*arguments: str | Path) -> float:
    """Seconds that a process of `luban` takes; what it says is shown where it fails."""
    start = time.perf_counter()
    done = subprocess.run([LUBAN, *map(str, arguments)], capture_output=True, text=True, env=STATE_IS_THE_PROJECTS)
    if done.returncode:
        raise SystemExit(f"luban {' '.join(map(str, arguments))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def made(folder: Path, verb: str, settings: Sequence[str]) -> Made:
    """Run `luban VERB` (run or train) on the project in `folder`, and open what it made."""
    sets = [word for setting in settings for word in ("--set", setting)]
    taken = luban(verb, "--project", folder, *sets)
    project, where = load_project(folder, settings)
    with Workshop.open(project, where).working() as shop:
        dataset = lifecycle.prepare(shop)
        trained = lifecycle.train(shop, dataset)
    return Made(dataset, trained.bundle, trained.report, taken)


def released(folder: Path, settings: Sequence[str] = (), *more: str) -> Path:
    """Run the project in `folder`, release what comes of it, and give the champion's folder, reports and all."""
    luban("run", "--project", folder, *(word for setting in settings for word in ("--set", setting)), *more)
    return champion_of(folder, settings)


def champion_of(folder: Path, settings: Sequence[str] = ()) -> Path:
    """The folder of the champion's bundle of the project in `folder`."""
    project, where = load_project(folder, settings)
    with Workshop.open(project, where).working() as shop:
        home = shop.home
        return home.store.fetch(Registry(home.ledger, home.store).resolve(project.name).tree)


def demo(quick: bool = False) -> Path:
    """The folder of the demo's project, which lies where benchmarks keep things; run again where code has changed.

    `quick`: one family in place of all, of which some take minutes on a machine that does other things too.
    """
    folder = place() / ("chinese-reviews-quick" if quick else "chinese-reviews")
    if not (folder / "luban.yaml").exists():
        luban("init", folder, "--template", "chinese-reviews")
        if quick:
            settings = (folder / "luban.yaml").read_text("utf-8")
            (folder / "luban.yaml").write_text(settings.replace("models: auto", "models: [linear]"), "utf-8")
    luban("run", "--project", folder, "--force", FORCED)
    return folder


def bundle_of(folder: Path) -> Path:
    """The bundle that was trained for the project in `folder`, which has run."""
    return made(folder, "train", []).bundle


def one_row(bundle: Bundle, rows: Sequence[Mapping[str, Any]], times: int) -> dict[str, float]:
    """Milliseconds of `predict` of a single row, the rows in turn, after a warm-up.

    By the clock, and by this thread's processor time, which other work on the machine disturbs less.
    """
    wall, cpu = [], []
    for number in range(times + times // 10):
        row = [rows[number % len(rows)]]
        start, used = time.perf_counter(), time.thread_time()
        bundle.predict(row)
        cpu.append((time.thread_time() - used) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    return {
        f"row_{name}_{unit}": round(float(np.quantile(taken[times // 10 :], share)), 3)
        for unit, taken in (("ms", wall), ("cpu_ms", cpu))
        for name, share in (("p50", 0.5), ("p95", 0.95))
    }
