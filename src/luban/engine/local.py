"""The engine of one machine: in this process, in threads, or in a pool of processes.

Decided here: workers are started anew rather than forked, because a fork copies the locks of other
threads (heartbeats, Arrow) as they happen to be; a worker ends by itself when this process dies; the
function travels once per worker, batches travel as they come, and at most two a worker are under way.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from luban.engine.base import B, Engine, Keys, R
from luban.engine.groups import MEMORY_BYTES, Groups, sort_keys
from luban.errors import ConfigError, LubanError

_AHEAD = 2  # batches under way per worker


class LocalEngine(Engine):
    """Runs work on this machine.

    >>> list(LocalEngine().map(len, ["a", "bb"]))
    [1, 2]
    """

    def map(self, fn: Callable[[B], R], batches: Iterable[B], num_workers: int = 1) -> Iterator[R]:
        """See Engine. With one worker everything runs in this thread."""
        if num_workers < 1:
            raise ConfigError(f"`num_workers` must be at least 1, but got {num_workers}.")
        if num_workers == 1:
            return map(fn, batches)
        if is_thread_friendly(fn):
            return _run(ThreadPoolExecutor(num_workers), fn, batches, num_workers)
        return _run(_processes(fn, num_workers), _call, batches, num_workers)

    def sort(self, keys: Keys, spill: Path, memory_bytes: int = MEMORY_BYTES) -> Groups:
        """See Engine."""
        return sort_keys(keys, spill, memory_bytes)


def is_thread_friendly(fn: Callable[..., Any]) -> bool:
    """Whether a function, or what a `partial` wraps, was marked with `thread_friendly`."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return bool(getattr(fn, "thread_friendly", False))


def _run(pool: Executor, fn: Callable[[B], R], batches: Iterable[B], num_workers: int) -> Iterator[R]:
    """Results in order with bounded look-ahead; whatever ends the loop also ends the workers."""
    under_way: deque[Future[R]] = deque()
    try:
        for batch in batches:
            under_way.append(pool.submit(fn, batch))
            if len(under_way) > _AHEAD * num_workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise LubanError(
            "A worker process died: it was ended from outside, most often because memory ran out.",
            "Use fewer workers, or a machine with more memory; then run the same again. A script of your own that "
            'uses several workers must do its work below `if __name__ == "__main__":`.',
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _processes(fn: Callable[..., Any], num_workers: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    return ProcessPoolExecutor(num_workers, mp_context=context, initializer=_begin_worker, initargs=(fn,))


_work: Callable[[Any], Any] | None = None


def _begin_worker(fn: Callable[[Any], Any]) -> None:
    global _work
    _work = fn
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's worker holds both ends of its queue, so without this it would outlive a killed parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _call(batch: Any) -> Any:
    assert _work is not None, "the worker was not begun"
    return _work(batch)
