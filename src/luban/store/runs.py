"""Runs: one execution of verbs each, with its config, environment and events.

A run whose process is dead is shown as interrupted, and written down as such when the next begins.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, select, update

from luban.catalog import canonical
from luban.errors import StoreError
from luban.store.database import Database, Transaction, now
from luban.store.process import is_dead, sign, was_rebooted
from luban.store.tables import events, runs

RUNNING, INTERRUPTED = "running", "interrupted"


@dataclass(frozen=True)
class Run:
    """One execution. `status` is running, interrupted, or what `end_run` was told; times are ISO 8601, UTC."""

    id: str
    name: str
    status: str
    started: str
    ended: str | None
    config: Any
    environment: Any


@dataclass(frozen=True)
class Event:
    """Something that happened in a run; `number` counts from 1."""

    number: int
    time: str
    verb: str
    message: str
    data: Any


def begin(database: Database, name: str, config: object, environment: object) -> str:
    """See Ledger.begin_run."""
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    settings, about = canonical(config).decode(), canonical(environment).decode()
    with database.write() as tx:
        _close_dead(tx)
        tx.execute(
            insert(runs).values(
                workspace=tx.workspace,
                id=run_id,
                name=name,
                status=RUNNING,
                owner=str(sign()),
                started=now(),
                config=settings,
                environment=about,
            )
        )
    return run_id


def end(database: Database, run_id: str, status: str) -> None:
    """See Ledger.end_run."""
    with database.write() as tx:
        mine = update(runs).where(runs.c.workspace == tx.workspace, runs.c.id == run_id)
        if tx.execute(mine.values(status=status, ended=now())).rowcount != 1:
            raise _unknown(run_id)


def add_event(database: Database, run_id: str, verb: str, message: str, data: object) -> None:
    """See Ledger.event."""
    body = canonical(data).decode()
    with database.write() as tx:
        of_run = (events.c.workspace == tx.workspace, events.c.run_id == run_id)
        last = tx.scalar(select(func.max(events.c.number)).where(*of_run))
        if last is None and not tx.scalar(
            select(runs.c.id).where(runs.c.workspace == tx.workspace, runs.c.id == run_id)
        ):
            raise _unknown(run_id)
        tx.execute(
            insert(events).values(
                workspace=tx.workspace,
                run_id=run_id,
                number=(last or 0) + 1,
                time=now(),
                verb=verb,
                message=message,
                data=body,
            )
        )


def list_runs(database: Database, name: str | None, limit: int) -> list[Run]:
    """See Ledger.runs."""
    with database.read() as tx:
        wanted = select(runs).where(runs.c.workspace == tx.workspace)
        if name is not None:
            wanted = wanted.where(runs.c.name == name)
        rows = tx.execute(wanted.order_by(runs.c.started.desc(), runs.c.id.desc()).limit(limit)).all()
    return [_run(row) for row in rows]


def list_events(database: Database, run_id: str) -> list[Event]:
    """See Ledger.events."""
    with database.read() as tx:
        wanted = select(events).where(events.c.workspace == tx.workspace, events.c.run_id == run_id)
        rows = tx.execute(wanted.order_by(events.c.number)).all()
    return [Event(row.number, row.time, row.verb, row.message, json.loads(row.data)) for row in rows]


def _run(row: Any) -> Run:
    gone = row.status == RUNNING and _is_gone(row.owner)
    return Run(
        id=row.id,
        name=row.name,
        status=INTERRUPTED if gone else row.status,
        started=row.started,
        ended=row.ended,
        config=json.loads(row.config),
        environment=json.loads(row.environment),
    )


def _close_dead(tx: Transaction) -> None:
    open_runs = select(runs.c.id, runs.c.owner).where(runs.c.workspace == tx.workspace, runs.c.status == RUNNING)
    dead = [row.id for row in tx.execute(open_runs).all() if _is_gone(row.owner)]
    if dead:
        those = update(runs).where(runs.c.workspace == tx.workspace, runs.c.id.in_(dead))
        tx.execute(those.values(status=INTERRUPTED, ended=now()))


def _is_gone(owner: str) -> bool:
    return is_dead(owner) or was_rebooted(owner)


def _unknown(run_id: str) -> StoreError:
    return StoreError(
        f"There is no run `{run_id}` in this ledger.", "Look whether LUBAN_LEDGER and LUBAN_WORKSPACE are the run's."
    )
