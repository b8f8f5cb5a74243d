"""Asking a bundle for several questions at once: what has arrived is asked together, nobody waits for more.

    submit ─► the loop's next turn ─► light: on the loop, at once
                                  └─► heavy: in a thread; until one is free, others join

The first question that comes is asked at the loop's next turn; until then others join it. So one client alone waits
for nothing, and many share the cost of a call. No timer holds anybody back: on a machine that has something to do,
what arrives meanwhile is batch enough, and on one that has not there is nobody to wait for. Questions of one bundle
with equal options are asked together; an answer does not depend on its neighbours (the bundle's promise).

What a batch will take is estimated (`pace.py`). Light ones are answered on the event loop, for a row costs less
than a switch of threads, never longer than `inline_ms` in one turn; heavy ones in a few threads (`threads.py`), so that
health stays answered. A question of very many rows is asked in pieces, and queues again after each. Whoever's deadline
passes is told so then, not when a thread is free. Knows no protocol, and not how a model is asked (`asking.py`).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from luban.engine.cores import usable_cores
from luban.serve.batches.asking import Asked
from luban.serve.batches.batching_config import BatchingConfig
from luban.serve.batches.groups import Group, Piece, Waiting, call_of, taken
from luban.serve.batches.pace import Pace
from luban.serve.batches.runs import RunCounts
from luban.serve.batches.threads import Calls, Threads
from luban.serve.http.problems import Problem
from luban.serve.question import Answer

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.serve.fleet.live import Served
    from luban.serve.watch.track import Track
    from luban.tasks.base import TaskOptions


SMALL_ROWS = 8
"""Rows that are taken to be light while nothing is known of a bundle."""
FEW, MOST_LOOKS = 3, 6
"""So many questions must wait for the loop to look for more before it asks, and so often it looks at most."""
HUNG_S = 2.0
"""Light questions do not wait for a thread that has been at work for so long."""


class Batcher:
    """Belongs to one event loop. `max_waiting` large questions may wait; more are sent away."""

    def __init__(
        self,
        num_threads: int,
        max_waiting: int,
        config: BatchingConfig | None = None,
        calls: Calls | None = None,
    ) -> None:
        config = config if config is not None else BatchingConfig()
        self._calls = calls
        self._threads = Threads(num_threads, calls)
        self._most_at_once = min(num_threads, usable_cores())
        self._max_waiting = max_waiting
        self._together = config.enabled
        self._max_rows = config.max_rows
        self._inline_s = config.inline_ms / 1000
        self._groups: dict[tuple[int, str], Group] = {}
        self._paces: WeakKeyDictionary[Bundle, Pace] = WeakKeyDictionary()
        self._has_turn = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._num_large = 0
        self.num_waiting = 0
        """Questions that wait for a thread, or are at work in one."""
        self._gathered = self._looks = 0
        self.runs = RunCounts()
        """What was asked, for those who watch."""

    def close(self) -> None:
        """End the threads; what waits for one is dropped."""
        self._threads.close()

    def longest_s(self) -> float:
        """Seconds that the oldest batch has been at work in a thread; 0 where there is none."""
        return self._threads.longest_s()

    def queue(self) -> tuple[int, float]:
        """How many small questions wait behind a thread, and for how long the oldest batch has been at work in it."""
        since_s = self._threads.longest_s()
        return (sum(len(group.light) for group in self._groups.values()), since_s) if since_s else (0, 0.0)

    def submit(
        self,
        served: Served,
        rows: list[Mapping[str, Any]],
        options: TaskOptions | None,
        deadline: float,
        track: Track | None = None,
    ) -> asyncio.Future[list[Answer]]:
        """One answer a row, later. Raises Problem where too many wait; the future may hold one, too."""
        loop = self._loop
        if loop is None:
            # Kept: asking for it costs a system call, and a batcher belongs to one loop.
            loop = self._loop = asyncio.get_running_loop()
        key = (id(served), "" if options is None else options.model_dump_json())
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(served, options, self._pace(served))
        # What a file costs says nothing of the next one: it is never decoded on the event loop.
        light = self._is_light(group.pace, len(rows)) and not served.files
        if not light and len(rows) > SMALL_ROWS:
            self._refuse_too_many()
        one = Waiting(rows, loop.create_future(), time.perf_counter(), track)
        if light:
            group.light.append(one)
        else:
            group.heavy.append(one)
            self._count(one)
        if deadline != math.inf:
            self._until(one, deadline, loop)
        self._take_turn(loop)
        return one.future

    def _pace(self, served: Served) -> Pace:
        pace = self._paces.get(served.bundle)
        if pace is None:
            pace = self._paces[served.bundle] = Pace()
        return pace

    def _is_light(self, pace: Pace, rows: int) -> bool:
        if not pace.known:
            return rows <= SMALL_ROWS and self._inline_s > 0
        return pace.expected(rows) <= self._inline_s

    def _refuse_too_many(self) -> None:
        if self._num_large >= self._max_waiting:
            detail = f"{self._num_large} large requests are at work or waiting."
            todo = "Ask again in a second, or send fewer rows a request."
            raise Problem("busy", detail, todo, None, {"retry-after": "1"})

    def _count(self, one: Waiting) -> None:
        large = len(one.rows) > SMALL_ROWS

        def left(future: asyncio.Future[list[Answer]]) -> None:
            self.num_waiting -= 1
            self._num_large -= large

        self.num_waiting += 1
        self._num_large += large
        one.future.add_done_callback(left)

    def _until(self, one: Waiting, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        def late() -> None:
            if not one.future.done():
                one.future.set_exception(too_late())

        timer = loop.call_later(max(deadline - time.monotonic(), 0), late)
        one.future.add_done_callback(lambda future: timer.cancel())
        if deadline <= time.monotonic():
            late()

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._has_turn:
            self._has_turn = True
            loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Answer what is light, no longer than is allowed in one turn; hand what is heavy to threads."""
        if self._still_gathers():
            asyncio.get_running_loop().call_soon(self._turn)
            return
        self._has_turn = False
        started = time.perf_counter()
        for key, group in list(self._groups.items()):
            while group.heavy and self._threads.are_free:
                self._in_thread(group, taken(group, group.heavy, self._max_rows, self._together))
            if self.longest_s() < HUNG_S and self._is_much(group):
                # Together they are heavy: a large batch in a thread is cheaper than many small ones here.
                if self._threads.num_at_work < self._most_at_once:
                    self._in_thread(group, taken(group, group.light, self._max_rows, self._together))
                continue
            while group.light and (spent := time.perf_counter() - started) <= self._inline_s:
                batch = taken(group, group.light, self._max_rows, self._together, self._inline_s - spent)
                self._share(group, batch, self._on_loop(group, batch))
            if not group.light and not group.heavy:
                del self._groups[key]
            elif group.light:
                self._take_turn(asyncio.get_running_loop())
        if len(self._groups) > 1:
            # Who was served first is served last at the next turn.
            key = next(iter(self._groups))
            self._groups[key] = self._groups.pop(key)

    def _still_gathers(self) -> bool:
        """Whether to look once more for what has come meanwhile: while many come, and at each look more than before.

        A look costs some microseconds, one call of a model for a few rows some hundred.
        """
        waiting = sum(len(group.light) for group in self._groups.values()) if self._together else 0
        if waiting >= FEW and waiting > self._gathered and self._looks < MOST_LOOKS:
            self._gathered, self._looks = waiting, self._looks + 1
            return True
        self._gathered = self._looks = 0
        return False

    def _is_much(self, group: Group) -> bool:
        """Whether those that are light alone take too long for one turn of the loop, all together."""
        if not self._together or len(group.light) < 2 or not group.pace.known:
            return False
        rows = sum(len(one.rows) for one in group.light)
        return group.pace.expected(min(rows, self._max_rows)) > self._inline_s

    def _on_loop(self, group: Group, batch: list[Piece]) -> Asked:
        if self._calls is None:
            return call_of(group, batch)()
        self._calls.loop_since = time.monotonic()
        try:
            return call_of(group, batch)()
        finally:
            self._calls.loop_since = 0.0

    def _in_thread(self, group: Group, batch: list[Piece]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()

        def ended(asked: Asked | None) -> None:
            if asked is not None:
                self._share(group, batch, asked)
            self._take_turn(loop)

        def hangs(limit_s: float) -> None:
            for piece in batch:
                if not piece.of.future.done():
                    piece.of.future.set_exception(_hangs(limit_s))
            self._take_turn(loop)

        self._threads.start(group.served, call_of(group, batch), ended, hangs)

    def _share(self, group: Group, batch: list[Piece], asked: Asked) -> None:
        results, began, ended, spent = asked
        size = sum(len(piece.rows) for piece in batch)
        if size:
            group.pace.seen(size, spent)
            self.runs.ran(group.served, size, [piece.of for piece in batch], began, ended)
        for piece, result in zip(batch, results, strict=True):
            one = piece.of
            if one.future.done():
                continue
            if one.track is not None:
                one.track.together = len(batch)
            if isinstance(result, Exception):
                one.future.set_exception(result)
            elif len(result) == len(one.rows):
                one.future.set_result(result)
            else:
                self._go_on(group, one, result)

    def _go_on(self, group: Group, one: Waiting, answers: list[Answer]) -> None:
        """A piece of a large question is answered; it queues again, behind the others."""
        one.done = answers if one.done is None else one.done + answers
        if len(one.done) == len(one.rows):
            one.future.set_result(one.done)
            return
        # Taken out and put back, the group may have left the table meanwhile.
        key = (id(group.served), "" if group.options is None else group.options.model_dump_json())
        group = self._groups.setdefault(key, group)
        group.heavy.append(one)
        self._take_turn(one.future.get_loop())


def too_late() -> Problem:
    """What to say where nobody waits any more."""
    return Problem("too-late", "The time that the client gave was over before the answer.", "Give more, or ask less.")


def _hangs(limit_s: float) -> Problem:
    return Problem("model-hangs", f"The model gave no answer in {limit_s:g} s.", "Look at the server's log.")
