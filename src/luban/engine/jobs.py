"""Durable jobs: long work that outlives the request, and the process, that asked for it.

    waiting ─claim─► running ─finish─► done
       ▲                │ └──fail──► failed      (after `max_attempts`, or at once where trying again is no use)
       └── again, later ┘ └─cancel─► cancelled

The queue is a table of the ledger. Whoever claims a job signs it and says every second that it lives; a job
whose owner died is taken again, at once if it died on this machine. Only the owner may end its job, in one
transaction: so a job may be begun several times, but it ends once, and a handler that publishes its result
under the hash of its content before it returns is done exactly once in effect. Knows no kind of job and no model:
a runner is given a table of handlers. Cancelling is cooperative: `report` raises `Cancelled`.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import Row, delete, func, insert, or_, select, update

from luban.catalog import canonical
from luban.engine.claims import Cancelled, Claim, Job, Later, Lost, Status, Stopped, job_of, key_of, row_of
from luban.errors import LubanError, StoreError
from luban.store.database import Transaction, now
from luban.store.ledger import Ledger
from luban.store.process import is_dead, sign
from luban.store.tables import jobs

__all__ = ["ENDED", "Cancelled", "Claim", "Handler", "Job", "JobQueue", "JobRunner", "Later", "Lost", "Status"]

LOG = logging.getLogger("luban.jobs")
ENDED: tuple[Status, ...] = ("done", "failed", "cancelled")


class JobQueue:
    """The jobs of one ledger. Threads and processes may share it. All methods raise StoreError.

    `ttl_s`: how long an owner that says nothing is believed to live; `backoff_s`: the wait before the second
    attempt, doubled with each further one.
    """

    def __init__(self, ledger: Ledger, ttl_s: float = 15.0, backoff_s: float = 1.0) -> None:
        self.ledger = ledger
        self.ttl_s = ttl_s
        self._backoff_s = backoff_s

    def submit(
        self, kind: str, request: object, model: str = "", actor: str = "", max_attempts: int = 3, id: str = ""
    ) -> Job:
        """Add a job. With an `id` that is there already, nothing is added, and that job is given."""
        row: dict[str, Any] = {
            "id": id or secrets.token_hex(16),
            "kind": kind,
            "model": model,
            "status": "waiting",
            "actor": actor,
            "request": canonical(request).decode(),
            "progress": 0.0,
            "counts": "{}",
            "attempts": 0,
            "max_attempts": max_attempts,
            "expires": 0.0,
            "cancel": 0,
        }
        with self.ledger.transaction() as tx:
            found = row_of(tx, row["id"])
            if found is None:
                tx.execute(insert(jobs).values(workspace=tx.workspace, not_before=tx.clock(), created=now(), **row))
                found = row_of(tx, row["id"])
        assert found is not None
        return job_of(found)

    def get(self, id: str) -> Job | None:
        """The job of this id."""
        with self.ledger.reading() as tx:
            found = row_of(tx, id)
        return None if found is None else job_of(found)

    def newest(self, actor: str | None = None, status: Status | None = None, limit: int = 50) -> list[Job]:
        """The newest jobs, newest first; of one actor or all."""
        asked = select(jobs).order_by(jobs.c.created.desc(), jobs.c.id).limit(limit)
        with self.ledger.reading() as tx:
            asked = asked.where(jobs.c.workspace == tx.workspace)
            if actor is not None:
                asked = asked.where(jobs.c.actor == actor)
            if status is not None:
                asked = asked.where(jobs.c.status == status)
            return [job_of(row) for row in tx.execute(asked)]

    def counts(self, actor: str | None = None) -> dict[str, int]:
        """How many jobs there are, by status."""
        asked = select(jobs.c.status, func.count().label("number")).group_by(jobs.c.status)
        with self.ledger.reading() as tx:
            asked = asked.where(jobs.c.workspace == tx.workspace)
            if actor is not None:
                asked = asked.where(jobs.c.actor == actor)
            return {row.status: int(row.number) for row in tx.execute(asked)}

    def cancel(self, id: str, actor: str = "nobody") -> Job | None:
        """Stop a job: one that waits at once, one that runs as soon as its handler looks. Others stay as they are.

        `actor` stands on the audit trail.
        """
        with self.ledger.transaction() as tx:
            found = row_of(tx, id)
            if found is not None and found.status in ("waiting", "running"):
                ended = {"status": "cancelled", "ended": now()} if found.status == "waiting" else {}
                _set(tx, id, cancel=1, **ended)
                self.ledger.audit(tx, actor, "cancel", f"job {id}", {"model": found.model, "was": found.status})
            found = row_of(tx, id)
        return None if found is None else job_of(found)

    def retry(self, id: str, actor: str = "nobody") -> Job | None:
        """Let a job that failed or was cancelled wait again, with all its attempts. Others stay as they are.

        `actor` stands on the audit trail.
        """
        with self.ledger.transaction() as tx:
            found = row_of(tx, id)
            if found is not None and found.status in ("failed", "cancelled"):
                fresh = {"attempts": 0, "cancel": 0, "error": None, "ended": None, "started": None}
                _set(tx, id, status="waiting", progress=0.0, counts="{}", not_before=tx.clock(), **fresh)
                self.ledger.audit(tx, actor, "retry", f"job {id}", {"model": found.model, "was": found.status})
            found = row_of(tx, id)
        return None if found is None else job_of(found)

    def purge(self, keep_days: float) -> list[Job]:
        """Forget jobs that ended longer ago, and give them, so that what they name can be dropped."""
        before = (datetime.now(UTC) - timedelta(days=keep_days)).isoformat(timespec="microseconds")
        with self.ledger.transaction() as tx:
            old = (jobs.c.workspace == tx.workspace, jobs.c.status.in_(ENDED), jobs.c.ended < before)
            found = [job_of(row) for row in tx.execute(select(jobs).where(*old))]
            tx.execute(delete(jobs).where(*old))
        return found

    def is_due(self, kinds: Collection[str]) -> bool:
        """Whether there is a job that could be claimed now. Takes nobody's turn to write."""
        with self.ledger.reading() as tx:
            return self._due(tx, kinds) is not None

    def claim(self, kinds: Collection[str]) -> Claim | None:
        """The oldest job of these kinds that is due, now this process's own; None where there is none."""
        if not self.is_due(kinds):
            return None
        with self.ledger.transaction() as tx:
            while (found := self._due(tx, kinds)) is not None:
                if found.cancel:
                    _set(tx, found.id, status="cancelled", ended=now(), owner=None)
                elif found.attempts >= found.max_attempts:
                    error = f"The process that worked on it died, {found.attempts} times."
                    _set(tx, found.id, status="failed", ended=now(), owner=None, error=error)
                else:
                    return self._taken(tx, found)
        return None

    def _due(self, tx: Transaction, kinds: Collection[str]) -> Row[Any] | None:
        clock = tx.clock()
        asked = select(jobs).where(jobs.c.workspace == tx.workspace, jobs.c.kind.in_(list(kinds)))
        oldest = asked.order_by(jobs.c.created, jobs.c.id)
        for row in tx.execute(oldest.where(jobs.c.status == "running")):
            if row.expires <= clock or is_dead(row.owner):
                return row
        ready = or_(jobs.c.not_before <= clock, jobs.c.cancel == 1)
        return tx.execute(oldest.where(jobs.c.status == "waiting", ready).limit(1)).first()

    def _taken(self, tx: Transaction, found: Row[Any]) -> Claim:
        owner = str(sign())
        taken = {"status": "running", "owner": owner, "expires": tx.clock() + self.ttl_s, "started": now()}
        _set(tx, found.id, attempts=found.attempts + 1, progress=0.0, counts="{}", **taken)
        row = row_of(tx, found.id)
        assert row is not None
        return Claim(self.ledger, job_of(row), owner, self.ttl_s, self._backoff_s)


Handler: TypeAlias = Callable[[Job, Claim], object]
"""Does a job and gives its result (JSON). Must call `report` now and then. LubanError: trying again is no use."""


@dataclass
class JobRunner:
    """Does the jobs of a queue whose kinds it has handlers for, one after the other, in the thread that calls."""

    queue: JobQueue
    handlers: Mapping[str, Handler]
    stop: threading.Event = field(default_factory=threading.Event)

    def run(
        self, poll_s: float = 0.5, idle_s: float = float("inf"), broken: Callable[[], bool] = lambda: False
    ) -> None:
        """Until `stop` is set, for `idle_s` there was nothing to do, or the process should do no more (`broken`).

        With 0 what is due is done, and no more is waited for.
        """
        idle = 0.0
        while not self.stop.is_set() and not broken():
            try:
                busy = self.run_one()
            except StoreError as error:  # a ledger that cannot be reached for a while
                LOG.warning("jobs wait for the ledger", extra={"fields": {"reason": error.message}})
                busy = False
            if busy:
                idle = 0.0
                continue
            if idle >= idle_s:
                return
            self.stop.wait(poll_s)
            idle += poll_s

    def run_one(self) -> bool:
        """Do one job; whether there was one."""
        claim = self.queue.claim(list(self.handlers))
        if claim is None:
            return False
        claim.stop = self.stop
        with claim:
            self._do(claim)
        return True

    def _do(self, claim: Claim) -> None:
        job = claim.job
        try:
            result = self.handlers[job.kind](job, claim)
        except Cancelled:
            claim.cancelled()
        except Stopped:
            claim.give_back()
        except Lost:
            LOG.warning("job lost to another process", extra={"fields": {"job": job.id}})
        except (StoreError, Later) as error:
            claim.fail(str(error), again=True)
        except LubanError as error:
            claim.fail(str(error), again=False)
        except Exception as error:
            LOG.exception("job failed", extra={"fields": {"job": job.id}})
            claim.fail(f"{type(error).__name__} inside the server; it is in its log.", again=True)
        else:
            if not claim.finish(result):
                LOG.warning("job lost to another process", extra={"fields": {"job": job.id}})


def _set(tx: Transaction, id: str, **values: Any) -> None:
    tx.execute(update(jobs).where(*key_of(tx, id)).values(values))
