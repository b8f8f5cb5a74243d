"""kill -9 of the demo on real reviews: replaying an undisturbed run's decisions releases the same model."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .project import Answer, Tiny, check_whole

BUDGET_S = 6
MODELS = "[{kind: linear, weighting: nb}, {kind: linear, bags: [{analyzer: word, ngram_max: 3}]}, linear, vote]"
"""What `auto` tries of it in an environment without PyTorch: a network is not trained in six seconds."""
pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Whole:
    """A demo that nothing happened to."""

    decisions: Path
    answer: Answer
    seconds: float

    @property
    def identity(self) -> str:
        """Of the released bundle."""
        return str(self.answer.events[-1]["version"]["identity"])


def demo(folder: Path, cache: str) -> Tiny:
    """The demo's project with a smaller time budget and what is trained in it; fetched packages are shared."""
    folder.mkdir()
    tiny = Tiny(folder, {"LUBAN_CACHE": cache})
    tiny.done("init", "--template", "chinese-reviews")
    file = folder / "luban.yaml"
    text = file.read_text("utf-8")
    for old, new in (("time_budget_s: 100 ", f"time_budget_s: {BUDGET_S} "), ("models: auto ", f"models: {MODELS} ")):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, "utf-8")
    return tiny


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return os.environ.get("LUBAN_CACHE") or str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: str) -> Whole:
    tiny = demo(tmp_path_factory.mktemp("demo") / "whole", cache)
    tiny.done("prepare")  # so that the package is there and its download is not what is timed
    began = time.monotonic()
    answer = tiny.done("run", "--json", cold=True)
    seconds = time.monotonic() - began
    tiny.done("bundle", "export", "out")
    return Whole(tiny.folder / "out" / "reports" / "decisions.json", answer, seconds)


@pytest.mark.parametrize("part", range(3))
def test_killed_and_run_again(part: int, whole: Whole, cache: str, tmp_path: Path) -> None:
    tiny = demo(tmp_path / "demo", cache)
    replay = ("run", "--json", "--decisions", str(whole.decisions))
    share = (part + random.Random(part).random()) / 3
    killed = tiny.killed_after(share * whole.seconds, *replay)
    assert killed.status in (-9, 0), killed.err
    results = tiny.results()
    answer = tiny.done(*replay)
    assert answer.events[-1]["version"]["identity"] == whole.identity
    assert answer.events[-1]["version"]["number"] == 1
    assert results.items() <= tiny.results().items()
    statuses = {name: row["status"] for name, row in whole.answer.candidates().items()}
    for name, row in answer.candidates().items():
        assert row["status"] == statuses[name], "what the clock decided there is done here"
    for name, row in killed.candidates().items():
        assert answer.candidates().get(name, row) == row, "a candidate was trained again"
    check_whole(tiny)
