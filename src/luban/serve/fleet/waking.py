"""Loads that questions wait for: one for each model, or version, however many wait.

They run in a few threads of their own, so that neither the event loop nor larger questions wait for them. What
failed is not tried again for a moment, so that many questions do not become many loads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from luban.errors import ReleaseError
from luban.serve.fleet.live import for_callers
from luban.serve.http.problems import Problem

if TYPE_CHECKING:
    from luban.serve.fleet.live import LiveBundle
    from luban.serve.fleet.routing import Routing

LOG = logging.getLogger("luban.serve")
LATER = {"retry-after": "1"}
NUM_THREADS = 4
PAUSE_S = 1.0
"""How long what failed is not tried again."""
Key = tuple[str, int | None]


class Waking:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: dict[Key, asyncio.Future[Routing]] = {}
        self._failed: dict[Key, tuple[float, Problem]] = {}

    def close(self) -> None:
        """Start no more loads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def load(self, live: LiveBundle, number: int | None) -> asyncio.Future[Routing]:
        """All that answers for a model, or (with `number`) one version of it. The future may hold a Problem."""
        key = (live.name, number)
        under_way = self._under_way.get(key)
        if under_way is not None:
            return under_way
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Routing] = loop.create_future()
        until, problem = self._failed.pop(key, (0.0, None))
        if problem is not None and until > time.monotonic():
            self._failed[key] = (until, problem)
            future.set_exception(problem)
            return future
        if self._threads is None:
            self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="luban-load")
        self._under_way[key] = future
        load = live.wake if number is None else partial(live.load_numbered, number)
        loop.run_in_executor(self._threads, load).add_done_callback(partial(self._done, key, future))
        return future

    def _done(self, key: Key, future: asyncio.Future[Routing], loaded: asyncio.Future[Routing]) -> None:
        del self._under_way[key]
        if loaded.cancelled():
            future.cancel()
            return
        error = loaded.exception()
        if error is None:
            future.set_result(loaded.result())
            return
        words = for_callers(error) if isinstance(error, Exception) else type(error).__name__
        if isinstance(error, ReleaseError):
            problem = Problem("no-such-version", words, "Ask without a version, or for one that there is.")
        else:
            LOG.warning("model not loaded", extra={"fields": {"model": key[0], "reason": str(error)}})
            problem = Problem("no-model", words, "Look at /v1/models; release the model again.", None, LATER)
            now = time.monotonic()
            self._failed = {one: until for one, until in self._failed.items() if until[0] > now}
            self._failed[key] = (now + PAUSE_S, problem)
        future.set_exception(problem)
        future.exception()  # Whoever waited may have gone; that is no fault of the program.
