"""Looking into the ledger for a request: in a few threads, so that the event loop never waits for a disk or a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from luban.errors import StoreError
from luban.serve.fleet import LATER
from luban.serve.problems import Problem

T = TypeVar("T")
THREADS, MAX_WAITING = 2, 32


class Clerk:
    """Does what must look into the ledger. Belongs to one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="luban-clerk")
        self._waiting = 0

    def close(self) -> None:
        """End the threads; what waits for them is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def do(self, work: Callable[[], T]) -> T:
        """Do it in a thread. Raises Problem where too much waits, or the ledger is away."""
        if self._waiting >= MAX_WAITING:
            raise Problem("busy", f"{self._waiting} requests wait for the ledger.", "Ask again later.", None, LATER)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except StoreError as error:
            raise Problem("no-ledger", error.message, "Ask again later; nothing was changed.", None, LATER) from error
        finally:
            self._waiting -= 1
