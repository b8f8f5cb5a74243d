"""The ledger: facts about runs, results, decisions, versions, and who did what.

One SQL database: SQLite by default, PostgreSQL by URL. Decided here:

- writers take turns, and what returned is on the disk; killed at any instant, a fact is there or not;
- a result is recorded once under its key; the first record stands;
- what a clock or a measurement decides is recorded before it is used, and replayed ever after;
- whoever lost its lease can no longer write under it.

Values are JSON; what is given back is what was kept, so that the first use equals every replay. Knows
no verb and no model; `tables.py` has the tables that others fill within `transaction()`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from luban.catalog import canonical
from luban.errors import StoreError
from luban.store import audit as chain
from luban.store import leases
from luban.store import runs as executions
from luban.store.audit import Entry
from luban.store.blobs import check_workspace
from luban.store.database import Database, Transaction, now
from luban.store.leases import Lease
from luban.store.runs import Event, Run
from luban.store.tables import datasets, decisions, results

__all__ = ["Entry", "Event", "Lease", "Ledger", "Run", "Transaction"]


class Ledger:
    """One ledger, seen from one workspace. Threads and processes may share it; opened when first used.

    `url` is a file or a SQLAlchemy URL (`sqlite:////folder/ledger.db`, `postgresql://host/name`). All
    methods raise StoreError if the database cannot be read or written.
    """

    def __init__(self, url: str | Path, workspace: str = "default") -> None:
        self.workspace = check_workspace(workspace)
        self._database = Database(url, workspace)

    def __repr__(self) -> str:
        return f"Ledger({str(self._database)!r}, {self.workspace!r})"

    @property
    def url(self) -> str:
        """Its SQLAlchemy URL, with the password if it has one: for processes that are to open it, too."""
        return self._database.url.render_as_string(hide_password=False)

    @property
    def file(self) -> Path | None:
        """The file that holds it; None where it is on a server."""
        url = self._database.url
        return Path(str(url.database)) if url.drivername == "sqlite" else None

    def close(self) -> None:
        """Close all connections; the next use opens them anew."""
        self._database.close()

    @contextlib.contextmanager
    def transaction(self, fence: Lease | None = None) -> Iterator[Transaction]:
        """Everything in the body is written together, or nothing of it.

        Only one runs at a time, so keep it short. Within it no other method that writes may be called
        by the same thread (AssertionError), except `audit`. With `fence` it is refused (LeaseHeld)
        once the lease is lost.
        """
        with self._database.write() as tx:
            if fence is not None:
                fence.require(tx)
            yield tx

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the ledger, waits for nobody and must not write."""
        with self._database.read() as tx:
            yield tx

    @contextlib.contextmanager
    def lease(
        self,
        name: str,
        ttl_s: float = 15.0,
        wait_s: float = 0.0,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[Lease]:
        """Hold the lease `name` for the body, renewed in the background.

        If another has it, wait up to `wait_s` (`on_wait` is told once who and since when), then raise
        LeaseHeld. An owner that died on this machine is replaced at once, one that died elsewhere or
        hangs when its `ttl_s` are over.
        """
        with leases.hold(self._database, name, ttl_s, wait_s, on_wait) as lease:
            yield lease

    def result(self, key: str) -> Any:
        """The JSON recorded under a result key, or None."""
        with self._database.read() as tx:
            found = tx.scalar(select(results.c.value).where(*_is(tx, results, key=key)))
        return None if found is None else json.loads(found)

    def record(self, key: str, value: object, fence: Lease | None = None) -> None:
        """Keep a result. The first record stands: StoreError if another value is already there."""
        body = canonical(value).decode()
        with self.transaction(fence) as tx:
            found = tx.scalar(select(results.c.value).where(*_is(tx, results, key=key)))
            if found is None:
                tx.execute(insert(results).values(workspace=tx.workspace, key=key, value=body, time=now()))
            elif found != body:
                raise StoreError(
                    f"The result `{key}` was recorded before, as {_short(found)}, and cannot become {_short(body)}.",
                    "The same code, settings and inputs gave two results: something undecided decides. Report this.",
                )

    def add_dataset(self, fingerprint: str, tree: str, rows: int, lineage: object) -> None:
        """Note a dataset and where the store holds it; noting it again changes nothing."""
        with self.transaction() as tx:
            if tx.scalar(select(datasets.c.tree).where(*_is(tx, datasets, fingerprint=fingerprint))) is None:
                row = {"fingerprint": fingerprint, "tree": tree, "rows": rows, "time": now()}
                body = canonical(lineage).decode()
                tx.execute(insert(datasets).values(workspace=tx.workspace, lineage=body, **row))

    def dataset(self, fingerprint: str) -> str | None:
        """Where the store holds a dataset that was noted; None where it was not."""
        with self.reading() as tx:
            found = tx.scalar(select(datasets.c.tree).where(*_is(tx, datasets, fingerprint=fingerprint)))
        return None if found is None else str(found)

    def forget(self, key: str, fence: Lease | None = None) -> bool:
        """Remove a result, so that it is made again: for what was erased or damaged. Whether it was there."""
        with self.transaction(fence) as tx:
            return bool(tx.execute(delete(results).where(*_is(tx, results, key=key))).rowcount)

    def decide(self, scope: str, key: str, make: Callable[[], object], fence: Lease | None = None) -> Any:
        """The decision `key` of `scope` (a run's part): made once, kept, then the same for ever.

        `make` runs only if nothing was decided yet; of several deciders at once the first to be kept
        wins, and all get its value. It runs outside of any transaction and may take its time.
        """
        with self._database.read() as tx:
            found = tx.scalar(select(decisions.c.value).where(*_is(tx, decisions, scope=scope, key=key)))
        if found is None:
            body = canonical(make()).decode()
            with self.transaction(fence) as tx:
                found = _keep_decision(tx, scope, key, body)
        return json.loads(found)

    def decisions(self, scope: str) -> dict[str, Any]:
        """All decisions of a scope, by key, in the order of their keys."""
        with self._database.read() as tx:
            rows = tx.execute(select(decisions.c.key, decisions.c.value).where(*_is(tx, decisions, scope=scope))).all()
        return {row.key: json.loads(row.value) for row in sorted(rows, key=lambda row: str(row.key))}

    def preset(self, scope: str, chosen: Mapping[str, object], fence: Lease | None = None) -> None:
        """Load another run's decisions before starting. StoreError if one was already decided otherwise."""
        with self.transaction(fence) as tx:
            for key, value in chosen.items():
                body = canonical(value).decode()
                found = _keep_decision(tx, scope, key, body)
                if found != body:
                    raise StoreError(
                        f"The decision `{key}` was made before, as {_short(found)}, and cannot become {_short(body)}.",
                        "Use a fresh state folder to replay another run's decisions.",
                    )

    def begin_run(self, name: str, config: object, environment: object) -> str:
        """Start a run and return its id; runs whose process is dead are closed as interrupted."""
        return executions.begin(self._database, name, config, environment)

    def event(self, run_id: str, verb: str, message: str, data: object = None) -> None:
        """Write down something that happened in a run."""
        executions.add_event(self._database, run_id, verb, message, data)

    def end_run(self, run_id: str, status: str) -> None:
        """End a run with a status of one word, such as done or failed."""
        executions.end(self._database, run_id, status)

    def runs(self, name: str | None = None, limit: int = 20) -> list[Run]:
        """The newest runs, of one project or all, newest first."""
        return executions.list_runs(self._database, name, limit)

    def events(self, run_id: str) -> list[Event]:
        """The events of a run, in order."""
        return executions.list_events(self._database, run_id)

    def audit(self, tx: Transaction, actor: str, verb: str, object: str, detail: object = None) -> str:
        """Append to the audit trail within a transaction, so that the deed and its entry stand or fall together.

        `detail` is JSON. Returns the entry's hash: the new head.
        """
        return chain.append(tx, actor, verb, object, detail)

    def audit_head(self) -> str:
        """The hash of the last entry; 64 zeros if there is none."""
        return chain.head(self._database)

    def audit_entries(self, limit: int = 100) -> list[Entry]:
        """The newest entries, newest first."""
        return chain.entries(self._database, limit)

    def verify_audit(self, heads: Collection[str] = ()) -> None:
        """Check the whole trail, and that each of `heads` (kept elsewhere) is in it.

        Raises StoreError naming the first entry that does not fit.
        """
        chain.verify(self._database, heads)


def _is(tx: Transaction, table: Any, **values: str) -> list[Any]:
    return [table.c.workspace == tx.workspace, *(table.c[name] == value for name, value in values.items())]


def _keep_decision(tx: Transaction, scope: str, key: str, body: str) -> str:
    """The decision as it stands now: the one found, or `body`, which is kept."""
    found = tx.scalar(select(decisions.c.value).where(*_is(tx, decisions, scope=scope, key=key)))
    if found is not None:
        return str(found)
    tx.execute(insert(decisions).values(workspace=tx.workspace, scope=scope, key=key, value=body, time=now()))
    return body


def _short(body: str) -> str:
    return body if len(body) <= 80 else f"{body[:77]}..."
