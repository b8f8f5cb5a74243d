"""Leases: one owner at a time, also among machines that share a ledger.

A lease has an owner, a time until which it holds, a heartbeat that renews it, and a fencing number
that grows with each owner. Who dies on this machine is replaced at once, who dies elsewhere when the
time is over. Who was only paused finds its number outdated: `check` and every transaction with
`fence=` refuse. Correctness rests on the number alone; clocks decide only how soon one is replaced.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, select, update

from luban.errors import LeaseHeld, StoreError
from luban.store.database import Database, Transaction
from luban.store.process import describe, is_dead, sign
from luban.store.tables import leases

_POLL_S = 0.2


class Lease:
    """A lease that was had. Usable from all threads of the process that took it, and only there."""

    def __init__(self, database: Database, name: str, owner: str, number: int, ttl_s: float) -> None:
        self.name = name
        self.owner = owner
        self.number = number
        self.ttl_s = ttl_s
        self._database = database
        self._pid = os.getpid()
        self._stop = threading.Event()
        self._renewed = _boot_clock()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def __repr__(self) -> str:
        return f"Lease({self.name!r}, number={self.number})"

    def check(self) -> None:
        """Return if the lease still holds. Raises LeaseHeld if another owner has it now."""
        self._check_process()
        # Nobody can have taken it within its time (unless a clock was set), so the ledger need not be asked.
        if _boot_clock() - self._renewed > self.ttl_s / 2:
            with self._database.read() as tx:
                self.require(tx)

    def require(self, tx: Transaction) -> None:
        """The same, read in a transaction: what `transaction(fence=lease)` begins with."""
        self._check_process()
        row = _row(tx, self.name)
        if row is None or (row.owner, row.number) != (self.owner, self.number):
            holder = describe(row.owner) if row is not None and row.owner else "nobody"
            raise LeaseHeld(
                f"The lease `{self.name}` was lost: this process did not renew it in time, and {holder} has it now.",
                "Nothing was written. Run the same again once the other has finished.",
            )

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise LeaseHeld(f"The lease `{self.name}` belongs to process {self._pid}, not to process {os.getpid()}.")

    def _beat(self) -> None:
        while not self._stop.wait(self.ttl_s / 3):
            with contextlib.suppress(StoreError):  # a busy or full ledger: the next beat tries again, `check` tells
                if not self.renew():
                    return

    def renew(self) -> bool:
        """Prolong the lease by its time; whether it was still there to prolong."""
        started = _boot_clock()
        with self._database.write() as tx:
            mine = update(leases).where(*_key(tx, self.name), *self._mine())
            held = tx.execute(mine.values(expires=tx.clock() + self.ttl_s)).rowcount == 1
        if held:
            self._renewed = started
        return held

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    def release(self) -> None:
        """Stop the heartbeat and give the lease back; nothing if another has it by now."""
        self._stop.set()
        if os.getpid() != self._pid:
            return
        self._thread.join()
        with self._database.write() as tx:
            tx.execute(update(leases).where(*_key(tx, self.name), *self._mine()).values(owner=None, expires=0.0))

    def _mine(self) -> tuple[ColumnElement[bool], ...]:
        return (leases.c.owner == self.owner, leases.c.number == self.number)


@contextlib.contextmanager
def hold(
    database: Database, name: str, ttl_s: float, wait_s: float, on_wait: Callable[[str], None] | None
) -> Iterator[Lease]:
    """Take the lease, waiting up to `wait_s`; give it back at the end. See Ledger.lease."""
    lease = _acquire(database, name, ttl_s, wait_s, on_wait)
    lease.start()
    try:
        yield lease
    except BaseException as error:
        try:
            lease.release()
        except StoreError as second:
            error.add_note(f"The lease `{name}` could not be given back and ends in {ttl_s:g} s: {second}")
        raise
    lease.release()


def _acquire(
    database: Database, name: str, ttl_s: float, wait_s: float, on_wait: Callable[[str], None] | None
) -> Lease:
    deadline = time.monotonic() + wait_s
    told = False
    while True:
        try:
            return _take(database, name, ttl_s)
        except LeaseHeld as held:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if not told and on_wait is not None:
                on_wait(held.message)
            told = True
        time.sleep(min(_POLL_S, left))


def _take(database: Database, name: str, ttl_s: float) -> Lease:
    owner = str(sign())
    with database.write() as tx:
        row, clock = _row(tx, name), tx.clock()
        if row is None:
            tx.execute(
                insert(leases).values(
                    workspace=tx.workspace, name=name, number=1, owner=owner, since=clock, expires=clock + ttl_s
                )
            )
            return Lease(database, name, owner, 1, ttl_s)
        if row.owner is not None and row.expires > clock and not is_dead(row.owner):
            raise _held(name, row.owner, row.since)
        taken = {"number": row.number + 1, "owner": owner, "since": clock, "expires": clock + ttl_s}
        tx.execute(update(leases).where(*_key(tx, name)).values(taken))
        return Lease(database, name, owner, row.number + 1, ttl_s)


def _held(name: str, owner: str, since: float) -> LeaseHeld:
    start = datetime.fromtimestamp(since, UTC).astimezone().isoformat(" ", "seconds")
    return LeaseHeld(
        f"The lease `{name}` is held by {describe(owner)} since {start}.",
        "Wait until it has finished, or end that process; then run the same again.",
    )


def _row(tx: Transaction, name: str) -> Row[Any] | None:
    return tx.execute(select(leases).where(*_key(tx, name))).first()


def _key(tx: Transaction, name: str) -> tuple[ColumnElement[bool], ...]:
    return (leases.c.workspace == tx.workspace, leases.c.name == name)


def _boot_clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    kind = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if kind is None else time.clock_gettime(kind)
