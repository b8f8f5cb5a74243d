"""Questions that wait for a batch, and which of them are taken together. Knows no loop, no thread and no clock."""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from luban.serve.batches.asking import Asked, timed
from luban.serve.batches.pace import Pace
from luban.serve.question import Answer

if TYPE_CHECKING:
    import asyncio

    from luban.serve.fleet.live import Served
    from luban.serve.watch.track import Track
    from luban.tasks.base import TaskOptions


@dataclass(slots=True, eq=False)
class Waiting:
    """One question; `done` are the answers to its first rows, where it is asked in pieces."""

    rows: list[Mapping[str, Any]]
    future: asyncio.Future[list[Answer]]
    since: float
    track: Track | None = None
    done: list[Answer] | None = None


@dataclass(slots=True)
class Piece:
    """Some rows of a question, in a row: all of them, but for large ones."""

    of: Waiting
    rows: list[Mapping[str, Any]]


@dataclass(slots=True)
class Group:
    """Questions that may be asked together."""

    served: Served
    options: TaskOptions | None
    pace: Pace
    light: deque[Waiting] = field(default_factory=deque)
    heavy: deque[Waiting] = field(default_factory=deque)


def taken(
    group: Group, queue: deque[Waiting], max_rows: int, together: bool, within_s: float = math.inf
) -> list[Piece]:
    """Take from a queue what is asked together: one piece at least, and no more than pays or is allowed.

    `together`: whether several questions may share a call; `within_s`: seconds that the call may take.
    """
    limit = group.pace.largest(max_rows) if len(queue) > 1 else max_rows
    batch: list[Piece] = []
    size = 0
    while queue and (not batch or (together and size < limit)):
        one = queue[0]
        if one.future.done():
            queue.popleft()  # Its deadline has passed.
            continue
        start = len(one.done) if one.done is not None else 0
        rows = one.rows[start : start + max_rows] if len(one.rows) > max_rows else one.rows
        if batch and (size + len(rows) > limit or group.pace.expected(size + len(rows)) > within_s):
            break
        batch.append(Piece(one, rows))
        size += len(rows)
        queue.popleft()
    return batch


def call_of(group: Group, batch: list[Piece]) -> Callable[[], Asked]:
    """The call of the model that answers these."""
    return functools.partial(timed, group.served, [piece.rows for piece in batch], group.options)
