"""A job as it stands in the ledger, and the claim of the process that works on it.

The claim signs the job and says every second that it lives; only under its signature may the job be ended, in
one transaction. Knows no kind of job; how jobs are found is `jobs.py`'s.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, select, update

from luban.catalog import canonical
from luban.errors import StoreError
from luban.store.database import Transaction, now
from luban.store.ledger import Ledger
from luban.store.tables import jobs

Status = Literal["waiting", "running", "done", "failed", "cancelled"]
BEAT_S = 1.0
LATEST_S = 300.0
"""The longest wait before a job that failed is tried again."""


class Cancelled(Exception):
    """Somebody asked that this job be stopped."""


class Stopped(Exception):
    """This process is to end; the job waits again."""


class Later(Exception):
    """It cannot be done now, for the reason that this says; the job waits for another attempt, if it has any left."""


class Lost(Exception):
    """Another process has this job now, because this one did not say in time that it lives."""


@dataclass(frozen=True)
class Job:
    """A job as it stands in the ledger. Times are ISO 8601 in UTC; `progress` is a share from 0 to 1."""

    id: str
    kind: str
    model: str
    status: Status
    actor: str
    request: Any
    result: Any
    error: str | None
    progress: float
    counts: Mapping[str, int]
    attempts: int
    max_attempts: int
    cancelling: bool
    created: str
    started: str | None
    ended: str | None


class Claim:
    """A job that this process works on. While its `with` block runs, a thread says that it lives."""

    def __init__(self, ledger: Ledger, job: Job, owner: str, ttl_s: float, backoff_s: float) -> None:
        self.job = job
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._owner = owner
        self._backoff_s = backoff_s
        self.stop: threading.Event | None = None
        """Set where this process is to end."""
        self._said: tuple[float, Mapping[str, int]] = (0.0, {})
        self._cancelled, self._lost, self._stop = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"job {job.id}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def report(self, share: float, counts: Mapping[str, int] | None = None) -> None:
        """Say how far it is. Raises Cancelled where somebody wants it stopped, Lost where it is another's, Stopped."""
        self._said = share, counts or {}
        if self._lost.is_set():
            raise Lost
        if self._cancelled.is_set():
            raise Cancelled
        if self.stop is not None and self.stop.is_set():
            raise Stopped

    def finish(self, result: object) -> bool:
        """End it with its result (JSON); whether it was still this process's to end."""
        progress, counts = 1.0, canonical(dict(self._said[1])).decode()
        body = canonical(result).decode()
        return self._write(status="done", result=body, ended=now(), progress=progress, counts=counts, owner=None)

    def fail(self, error: str, again: bool) -> bool:
        """End it with an error; with `again`, let it wait for another attempt if it has any left."""
        if again and self.job.attempts < self.job.max_attempts:
            wait_s = min(LATEST_S, self._backoff_s * 2 ** (self.job.attempts - 1))
            return self._write(wait_s, status="waiting", error=error, owner=None)
        return self._write(status="failed", error=error, ended=now(), owner=None)

    def give_back(self) -> bool:
        """Let it wait again at once, as if it had not been begun: for who must stop before it is finished."""
        return self._write(0.0, status="waiting", owner=None, attempts=self.job.attempts - 1)

    def cancelled(self) -> bool:
        """End it as cancelled."""
        return self._write(status="cancelled", ended=now(), owner=None)

    def _write(self, wait_s: float | None = None, /, **values: Any) -> bool:
        with self._ledger.transaction() as tx:
            if wait_s is not None:
                values["not_before"] = tx.clock() + wait_s
            mine = update(jobs).where(*key_of(tx, self.job.id), jobs.c.owner == self._owner, jobs.c.status == "running")
            return bool(tx.execute(mine.values(values)).rowcount)

    def _beat(self) -> None:
        while not self._stop.wait(min(BEAT_S, self._ttl_s / 3)):
            with contextlib.suppress(StoreError):  # a busy ledger: the next beat tries again
                if not self._say():
                    self._lost.set()
                    return

    def _say(self) -> bool:
        share, counts = self._said
        with self._ledger.transaction() as tx:
            mine = update(jobs).where(*key_of(tx, self.job.id), jobs.c.owner == self._owner, jobs.c.status == "running")
            alive = {"expires": tx.clock() + self._ttl_s, "progress": min(max(share, 0.0), 1.0)}
            held = tx.execute(mine.values(counts=canonical(dict(counts)).decode(), **alive)).rowcount
            if tx.scalar(select(jobs.c.cancel).where(*key_of(tx, self.job.id))):
                self._cancelled.set()
        return bool(held)


def row_of(tx: Transaction, id: str) -> Row[Any] | None:
    """A job's row."""
    return tx.execute(select(jobs).where(*key_of(tx, id))).first()


def key_of(tx: Transaction, id: str) -> tuple[ColumnElement[bool], ...]:
    """What picks a job's row."""
    return (jobs.c.workspace == tx.workspace, jobs.c.id == id)


def job_of(row: Row[Any]) -> Job:
    """The job that a row states."""
    result = None if row.result is None else json.loads(row.result)
    return Job(
        row.id,
        row.kind,
        row.model,
        row.status,
        row.actor,
        json.loads(row.request),
        result,
        row.error,
        row.progress,
        json.loads(row.counts),
        row.attempts,
        row.max_attempts,
        bool(row.cancel),
        row.created,
        row.started,
        row.ended,
    )
