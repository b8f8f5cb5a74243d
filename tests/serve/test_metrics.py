"""Figures that cannot grow without bound."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from luban.serve.asking import Answered
from luban.serve.live import FolderOrigin, LiveBundle
from luban.serve.metrics import MAX_VALUES, Metrics


def test_values_beyond_the_limit_are_counted_together() -> None:
    metrics = Metrics(LiveBundle(FolderOrigin(Path("/nowhere")), 1))
    values = Counter({f"class {number}": 1 for number in range(MAX_VALUES + 5)})
    for _ in range(2):
        metrics.answered(Answered(b"", 1, 0, values))
    text = metrics.render("")[0].decode()
    lines = [line for line in text.splitlines() if line.startswith("luban_answers_total{")]
    assert len(lines) == MAX_VALUES + 1
    assert 'luban_answers_total{value="(other)"} 10.0' in lines
