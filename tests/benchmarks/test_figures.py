"""Figures of benchmarks: intervals that mean what they say, turns, and the page they are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.figures import mcnemar, mean_interval, median_interval, turns
from benchmarks.page import END, tables, update


def test_the_interval_of_a_mean_holds_it_as_often_as_stated() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        low, high = mean_interval(rng.normal(0.5, 1, 80), np.arange(80))
        held += low <= 0.5 <= high
    assert 88 <= held <= 100


def test_a_row_tested_four_times_counts_once() -> None:
    values = np.random.default_rng(2).normal(size=200)
    once = mean_interval(values, np.arange(200))
    again = mean_interval(np.tile(values, 4), np.tile(np.arange(200), 4))
    assert again == once
    narrower = mean_interval(np.tile(values, 4), np.arange(800))
    assert narrower[1] - narrower[0] < 0.6 * (once[1] - once[0])


def test_the_interval_of_a_median_is_that_of_the_values() -> None:
    assert median_interval([3.0] * 9) == [3.0, 3.0]
    low, high = median_interval(np.arange(101.0))
    assert 30 < low < 50 < high < 70


def test_mcnemar_is_the_binomial_test_of_rows_that_differ() -> None:
    right = np.array([True] * 10 + [False] * 5)
    assert mcnemar(right, right) == 1.0
    assert mcnemar(np.ones(6, bool), np.zeros(6, bool)) == pytest.approx(2 / 2**6)


def test_turns_ask_each_once_a_round_and_change_the_order() -> None:
    asked: list[str] = []

    def call(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    found = turns({name: lambda name=name: call(name) for name in "abc"}, 3)  # type: ignore[misc]
    assert asked == list("abcbcacab")
    assert found["a"].tolist() == [1, 6, 8]


def test_figures_stand_between_their_markers_and_words_stay(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Words\n\n<!-- figures: two -->\nold\n{END}\n\nMore words.\n", "utf-8")
    update("two", [{"benchmark": "two", "what": "x", "rows": 1000}], "A machine.", page)
    update("one", [{"benchmark": "one", "what": "y", "below": False}], "A machine.", page)
    update("two", [{"benchmark": "two", "what": "x", "rows": 2000}], "A machine.", page)
    text = page.read_text("utf-8")
    assert "old" not in text
    assert "1,000" not in text
    assert text.count("| x | 2,000 |") == 1
    assert text.startswith("# Words\n")
    assert "\nMore words.\n" in text
    assert text.index("More words") < text.index("<!-- figures: one -->") < text.index("| y | no |")


def test_lines_with_other_figures_make_another_table() -> None:
    lines = [{"what": "a", "s": 1}, {"what": "b", "ms": 2.5}, {"what": "c", "s": 3, "deep": {"x": 1}}]
    assert tables(lines) == (
        "| what | s |\n| --- | --- |\n| a | 1 |\n| c | 3 |\n\n| what | ms |\n| --- | --- |\n| b | 2.5 |\n"
    )
