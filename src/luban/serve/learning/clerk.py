"""Looking into the ledger for a request: in a few threads, so that the event loop never waits for a disk or a lock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from luban.errors import StoreError
from luban.serve.fleet.waking import LATER
from luban.serve.http.problems import Problem

LOG = logging.getLogger("luban.serve")
T = TypeVar("T")
THREADS, MAX_WAITING = 2, 32
PATIENCE_S = 5.0
"""How long a request waits for the ledger; a writer there may wait for its turn much longer."""
_TODO = "Send the same again later; it does no harm if it is kept by then."


class Clerk:
    """Does what must look into the ledger. Belongs to one event loop."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="luban-clerk")
        self._waiting = 0
        self._said = ""

    def close(self) -> None:
        """End the threads; what waits for them is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def do(self, work: Callable[[], T]) -> T:
        """Do it in a thread. Raises Problem where too much waits, or the ledger is away or does not answer in time.

        In the last case the work goes on, and one that was lost in mid-commit may be kept: it must do no harm if it is
        asked for again. What a database says is for the log alone: where it is, and as whom it is asked.
        """
        if self._waiting >= MAX_WAITING:
            raise Problem("busy", f"{self._waiting} requests wait for the ledger.", "Ask again later.", None, LATER)
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._done)
        try:
            found = await asyncio.wait_for(asyncio.shield(future), PATIENCE_S)
        except TimeoutError:
            detail = f"The ledger did not answer within {PATIENCE_S:g} s."
            raise Problem("no-ledger", detail, _TODO, None, LATER) from None
        except StoreError as error:
            if error.message != self._said:
                LOG.warning("ledger cannot be used", extra={"fields": {"reason": error.message}})
            self._said = error.message
            raise Problem("no-ledger", "The ledger cannot be used now.", _TODO, None, LATER) from error
        self._said = ""
        return found

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # whoever asked may have gone; what it says is in the answer, or of no interest
