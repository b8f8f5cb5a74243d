"""Asking a bundle for several requests at once: what has arrived is asked together, nobody waits for more.

The first question that comes is asked at the loop's next turn; until then others join it. So one client
alone waits for nothing, and many share the cost of a call. Questions of one bundle with equal options are
asked together; an answer does not depend on its neighbours (the bundle's promise). Small batches
are answered on the event loop (a row costs less than a switch of threads), larger ones in a few threads,
so that health stays answered. Knows no protocol.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from luban.serve.problems import Problem
from luban.serve.question import Answer

if TYPE_CHECKING:
    from luban.serve.live import Served
    from luban.tasks.base import TaskOptions

SMALL_ROWS = 8
MAX_ROWS = 256


@dataclass(slots=True)
class _Waiting:
    rows: list[Mapping[str, Any]]
    deadline: float
    future: asyncio.Future[list[Answer]]


class Batcher:
    """Belongs to one event loop. `max_waiting` large questions may wait; more are sent away."""

    def __init__(self, num_threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="luban-predict")
        self._max_waiting = max_waiting
        self._groups: dict[tuple[int, str], tuple[Served, TaskOptions | None, list[_Waiting]]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self.num_waiting = 0
        self.batch_rows = 0
        """Rows of the last batch."""

    def close(self) -> None:
        """End the threads; what waits for one is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def submit(
        self, served: Served, rows: list[Mapping[str, Any]], options: TaskOptions | None, deadline: float
    ) -> asyncio.Future[list[Answer]]:
        """One answer a row, later. Raises Problem where too many wait; the future may hold one, too."""
        loop = asyncio.get_running_loop()
        large = len(rows) > SMALL_ROWS
        if large and self.num_waiting >= self._max_waiting:
            detail = f"{self.num_waiting} large requests are at work or waiting."
            todo = "Ask again in a second, or send fewer rows a request."
            raise Problem("busy", detail, todo, None, {"retry-after": "1"})
        future: asyncio.Future[list[Answer]] = loop.create_future()
        if not self._groups:
            loop.call_soon(self._flush)
        key = (id(served), options.model_dump_json() if options is not None else "")
        group = self._groups.setdefault(key, (served, options, []))
        group[2].append(_Waiting(rows, deadline, future))
        if large:
            self.num_waiting += 1
            future.add_done_callback(self._left)
        return future

    def _left(self, future: asyncio.Future[list[Answer]]) -> None:
        self.num_waiting -= 1

    def _flush(self) -> None:
        groups, self._groups = self._groups, {}
        for served, options, waiting in groups.values():
            for batch in _batches(waiting):
                if sum(len(one.rows) for one in batch) <= SMALL_ROWS:
                    _answer(served, options, batch)
                else:
                    task = asyncio.get_running_loop().create_task(self._in_thread(served, options, batch))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)

    async def _in_thread(self, served: Served, options: TaskOptions | None, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        batch = _in_time(batch)
        rows = [row for one in batch for row in one.rows]
        try:
            answers = await loop.run_in_executor(self._threads, _ask, served, rows, options)
        except Exception as error:
            _fail(batch, error)
        else:
            _share(batch, answers)


def _batches(waiting: list[_Waiting]) -> list[list[_Waiting]]:
    found: list[list[_Waiting]] = []
    size = 0
    for one in waiting:
        if not found or size + len(one.rows) > MAX_ROWS:
            found.append([])
            size = 0
        found[-1].append(one)
        size += len(one.rows)
    return found


def _in_time(batch: list[_Waiting]) -> list[_Waiting]:
    """Those whom somebody still waits for; the others are told that it is too late."""
    now = time.monotonic()
    for one in batch:
        if one.deadline <= now and not one.future.done():
            one.future.set_exception(_too_late())
    return [one for one in batch if not one.future.done()]


def _answer(served: Served, options: TaskOptions | None, batch: list[_Waiting]) -> None:
    batch = _in_time(batch)
    try:
        answers = _ask(served, [row for one in batch for row in one.rows], options)
    except Exception as error:
        _fail(batch, error)
    else:
        _share(batch, answers)


def _ask(served: Served, rows: list[Mapping[str, Any]], options: TaskOptions | None) -> list[Answer]:
    answers = served.bundle.predict(rows, options).rows() if rows else []
    if len(answers) != len(rows):
        raise AssertionError(f"{len(rows)} rows were asked, but {len(answers)} were answered")
    return answers


def _share(batch: list[_Waiting], answers: list[Answer]) -> None:
    start = 0
    for one in batch:
        end = start + len(one.rows)
        if not one.future.done():
            one.future.set_result(answers[start:end])
        start = end


def _fail(batch: list[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.future.done():
            one.future.set_exception(error)


def _too_late() -> Problem:
    return Problem("too-late", "The time that the client gave was over before the answer.", "Give more, or ask less.")
