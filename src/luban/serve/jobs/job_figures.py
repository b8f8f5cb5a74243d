"""What jobs add to the server's figures: rows, answers, records. Processes that do jobs write them into files, and the
server that started them reads these at each scrape (`watch/board.py`).

Decided here: figures of requests and of their times are those of live requests alone, since nobody waits for a job;
what is told of a row's answer counts wherever the row came from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from luban.serve.watch.board import WRITE_S, Board

if TYPE_CHECKING:
    from luban.serve.watch.figures import Sample
    from luban.serve.watch.metrics import Metrics

LOG = logging.getLogger("luban.jobs")
TOLD = frozenset(
    {
        "luban_rows_total",
        "luban_row_errors_total",
        "luban_rows_outside_total",
        "luban_rows_marked_total",
        "luban_answers_total",
        "luban_answer_confidence_ratio",
        "luban_records_written_total",
        "luban_records_skipped_total",
        "luban_shadow_answers_total",
        "luban_shadow_failures_total",
        "luban_shadow_dropped_total",
    }
)


class JobFigures:
    """The figures of one process, of all the desks that it opens. `folder` is the server's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._of: Metrics | None = None
        self._board: Board | None = None
        self._next = 0.0

    def write(self, metrics: Metrics, at_once: bool = False) -> None:
        """Tell them, at most every WRITE_S unless `at_once`. Each desk has a file of its own: counters begin at 0."""
        if self._board is None or metrics is not self._of:
            self._of, self._board = metrics, Board(self._folder)
        elif not at_once and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WRITE_S
        try:
            self._board.write(one for one in metrics.samples() if one.name in TOLD)
        except OSError as error:  # A full disk of temporary files is no reason to end a job.
            LOG.warning("figures of jobs are not told", extra={"fields": {"reason": str(error)}})


class AllJobFigures:
    """Those of all processes of one server together. A source of figures."""

    def __init__(self, folder: Path) -> None:
        self._board = Board(folder)

    def figures(self) -> Iterable[Sample]:
        """What they wrote; nothing where the folder was cleared away, until one writes there again."""
        try:
            return self._board.read()
        except FileNotFoundError:
            return ()
