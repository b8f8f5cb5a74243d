"""The SQL database under the ledger: SQLite by default, PostgreSQL by URL; the same to whoever calls.

Decided here: writers take turns. On SQLite a write transaction begins with BEGIN IMMEDIATE, on
PostgreSQL with an advisory lock per workspace; so what a transaction read stays true until it ends,
and no code above needs to know isolation levels. Readers never wait. A transaction that returned is
on the disk (WAL, synchronous=FULL). Knows no table but the schema number's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.sql import Executable

from luban.catalog import need
from luban.errors import StoreError
from luban.store.durable import make_folder, writing
from luban.store.failures import explain
from luban.store.migrations import migrate

BUSY_S = 30.0
"""How long a writer waits for its turn."""


class Transaction:
    """An open transaction: `execute` statements of SQLAlchemy Core, filter and fill `workspace` yourself."""

    def __init__(self, connection: Connection, workspace: str) -> None:
        self.connection = connection
        self.workspace = workspace

    def execute(self, statement: Executable) -> CursorResult[Any]:
        """Run one statement."""
        return self.connection.execute(statement)

    def scalar(self, statement: Executable) -> Any:
        """The first column of the first row, or None."""
        return self.connection.execute(statement).scalar()

    def clock(self) -> float:
        """Seconds since 1970, by the clock that all users of this ledger share."""
        if self.connection.dialect.name == "postgresql":
            return float(self.scalar(text("SELECT extract(epoch FROM clock_timestamp())")))
        return time.time()


class Database:
    """One ledger's database. Threads and processes may share it; opened when it is first used."""

    def __init__(self, url: str | Path, workspace: str) -> None:
        self.url = _parse(url)
        self.workspace = workspace
        self._local = threading.local()
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._pid = os.getpid()

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that alone may write; committed at the end, undone if the body raises."""
        assert not getattr(self._local, "writing", False), "a transaction within a transaction of the same thread"
        with self._explained(), self._opened().connect() as connection:
            self._local.writing = True
            try:
                with connection.execution_options(luban_write=True).begin():
                    self._take_turn(connection)
                    yield Transaction(connection, self.workspace)
            finally:
                self._local.writing = False

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the ledger and waits for nobody."""
        with self._explained(), self._opened().connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield Transaction(connection, self.workspace)

    def close(self) -> None:
        """Close all connections; the next use opens them anew."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _take_turn(self, connection: Connection, everyone: bool = False) -> None:
        if connection.dialect.name == "postgresql":
            scope = "*" if everyone else self.workspace
            key = int.from_bytes(hashlib.sha256(f"luban {scope}".encode()).digest()[:8], signed=True)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def _opened(self) -> Engine:
        with self._opening:
            if self._engine is not None and self._pid != os.getpid():
                self._engine.dispose(close=False)  # after a fork the connections are the parent's
                self._engine = None
            if self._engine is None:
                self._pid = os.getpid()
                self._engine = self._open()
            return self._engine

    def _open(self) -> Engine:
        if self.url.drivername != "sqlite":
            engine = _open_postgresql(self.url)
        elif _must_not_write(file := Path(str(self.url.database))):
            return _open_read_only(file)
        else:
            engine = _open_sqlite(self.url, file)
        with engine.connect() as connection, connection.execution_options(luban_write=True).begin():
            self._take_turn(connection, everyone=True)
            migrate(connection)
        return engine

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            told = explain(error, str(self), self.url.database if self.url.drivername == "sqlite" else None)
            if told is None:
                raise
            raise told from error


def now() -> str:
    """The time for people: ISO 8601, UTC, microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _parse(url: str | Path) -> URL:
    if isinstance(url, Path) or ":" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError(
            "`ledger` must be a URL such as sqlite:////folder/ledger.db, but it cannot be read."
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(f"`ledger` must be on sqlite or postgresql, but got `{parsed.drivername}`.")
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise StoreError("`ledger` must be in a file, but this URL keeps it in memory, where nothing would last.")
    return parsed


def _open_postgresql(url: URL) -> Engine:
    need("psycopg", "postgres")
    milliseconds = int(BUSY_S * 1000)
    options = f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout={milliseconds * 2}"
    return create_engine(url, pool_pre_ping=True, connect_args={"options": options, "connect_timeout": 10})


def _open_sqlite(url: URL, file: Path) -> Engine:
    with writing("the ledger", file.parent):
        make_folder(file.absolute().parent)
    # The connection used last is used next: each keeps up to 2 MB of pages, which idle ones need not.
    engine = create_engine(url, connect_args={"timeout": BUSY_S}, pool_use_lifo=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA synchronous=FULL")
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("luban_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_wal(connection: Any) -> None:
    """Switch to write-ahead logging; the switch itself does not wait for others, so try again."""
    import sqlite3

    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _must_not_write(file: Path) -> bool:
    return file.is_file() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def _open_read_only(file: Path) -> Engine:
    """A ledger on a read-only disk: SQLite needs to be told that nobody can change it meanwhile."""
    log = file.with_name(f"{file.name}-wal")
    settled = not log.is_file() or log.stat().st_size == 0
    query = {"mode": "ro", "uri": "true", **({"immutable": "1"} if settled else {})}
    url = URL.create("sqlite", database=f"file:{quote(str(file.absolute()))}", query=query)
    return create_engine(url, connect_args={"timeout": BUSY_S})
