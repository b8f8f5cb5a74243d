"""Figures that cannot grow without bound."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from luban.serve.live import FolderOrigin, LiveBundle
from luban.serve.metrics import MAX_VALUES, Metrics


def test_values_beyond_the_limit_are_counted_together() -> None:
    metrics = Metrics(LiveBundle(FolderOrigin(Path("/nowhere")), 1))
    answers = [{"label": f"class {number}"} for number in range(MAX_VALUES + 5)]
    reply: Any = SimpleNamespace(
        answers=answers, num_errors=0, arm=SimpleNamespace(served=SimpleNamespace(counted="label"))
    )
    question: Any = None
    for _ in range(2):
        metrics.answered(question, reply)
    text = metrics.render("")[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("luban_answers_total{")]
    assert len(lines) == MAX_VALUES + 1
    assert 'luban_answers_total{value="(other)"} 10.0' in lines
