"""One call of a model for several questions, and what it cost.

A call that raises is made again question by question, so that one cannot spoil the others' answers. Knows neither
threads nor queues.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from luban.serve.question import Answer

if TYPE_CHECKING:
    from luban.serve.fleet.live import Served
    from luban.tasks.base import TaskOptions

LONG_S = 0.1
Rows = Sequence[Mapping[str, Any]]
Result = list[Answer] | Exception
"""Answers to one question's rows, or what was raised."""
Asked = tuple[list[Result], float, float, float]
"""A result for each question; when the model began and ended, by `time.perf_counter`; and the seconds that it cost."""


def timed(served: Served, questions: Sequence[Rows], options: TaskOptions | None) -> Asked:
    """Ask, and tell the time. Raises nothing that a model raises."""
    worked, began = time.thread_time(), time.perf_counter()
    results = _results(served, questions, options)
    ended = time.perf_counter()
    return results, began, ended, _cost(ended - began, time.thread_time() - worked)


def _cost(taken_s: float, worked_s: float) -> float:
    """What a call cost: the processor's time, for what others took of the same core says nothing of the model.

    A call that did nothing for long waited for something, and would hold up the loop: that costs its whole time.
    """
    return taken_s if taken_s > LONG_S and worked_s < taken_s / 4 else worked_s


def _results(served: Served, questions: Sequence[Rows], options: TaskOptions | None) -> list[Result]:
    rows = [row for question in questions for row in question]
    try:
        answers = served.bundle.predict(rows, options).rows() if rows else []
        if len(answers) != len(rows):
            raise AssertionError(f"{len(rows)} rows were asked, but {len(answers)} were answered")
    except Exception as error:
        if len(questions) == 1:
            return [error]
        return [result for question in questions for result in _results(served, [question], options)]
    if len(questions) == 1:
        return [answers]
    found: list[Result] = []
    start = 0
    for question in questions:
        end = start + len(question)
        found.append(answers[start:end])
        start = end
    return found
