"""How an older ledger becomes one of today.

The ledger has a schema number. A new ledger is made by `tables.py` with the newest number; an older
one is brought forward, one function after the other, in one transaction. A newer one is refused.
`MIGRATIONS[0]` brings a ledger from number 1 to 2, and so on: functions are appended, never changed.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, insert, inspect, select, text, update

from luban.errors import StoreError
from luban.store.tables import METADATA, meta

Migration = Callable[[Connection], None]

_SERVING = (
    """CREATE TABLE deployments (
        workspace TEXT NOT NULL, model TEXT NOT NULL, deployment TEXT NOT NULL, revision BIGINT NOT NULL, state TEXT
        NOT NULL, actor TEXT NOT NULL, time TEXT NOT NULL, PRIMARY KEY (workspace, model, deployment)
    )""",
    """CREATE TABLE traffic (
        workspace TEXT NOT NULL, model TEXT NOT NULL, deployment TEXT NOT NULL, revision BIGINT NOT NULL, server TEXT
        NOT NULL, version BIGINT NOT NULL, figures TEXT NOT NULL, time DOUBLE PRECISION NOT NULL,
        PRIMARY KEY (workspace, model, deployment, revision, server, version)
    )""",
    """CREATE TABLE api_keys (
        workspace TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, hash TEXT NOT NULL, role TEXT NOT NULL, models
        TEXT NOT NULL, limits TEXT NOT NULL, created TEXT NOT NULL, created_by TEXT NOT NULL, expires DOUBLE
        PRECISION, revoked TEXT, PRIMARY KEY (workspace, id)
    )""",
    """CREATE TABLE jobs (
        workspace TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL, status TEXT NOT NULL,
        actor TEXT NOT NULL, request TEXT NOT NULL, result TEXT, error TEXT, progress DOUBLE PRECISION NOT NULL,
        counts TEXT NOT NULL, attempts BIGINT NOT NULL, max_attempts BIGINT NOT NULL,
        not_before DOUBLE PRECISION NOT NULL, owner TEXT, expires DOUBLE PRECISION NOT NULL, cancel BIGINT NOT NULL,
        created TEXT NOT NULL, started TEXT, ended TEXT,
        PRIMARY KEY (workspace, id)
    )""",
    "CREATE INDEX jobs_by_status ON jobs (workspace, status, not_before)",
    """CREATE TABLE answers (
        workspace TEXT NOT NULL, request_id TEXT NOT NULL, position BIGINT NOT NULL, model TEXT NOT NULL, deployment
        TEXT NOT NULL, version BIGINT NOT NULL, arm TEXT NOT NULL, time DOUBLE PRECISION NOT NULL, answer TEXT NOT
        NULL, confidence DOUBLE PRECISION, row TEXT, unit TEXT, share DOUBLE PRECISION,
        PRIMARY KEY (workspace, request_id, position)
    )""",
    "CREATE INDEX answers_by_time ON answers (workspace, model, time)",
    """CREATE TABLE feedback (
        workspace TEXT NOT NULL, request_id TEXT NOT NULL, position BIGINT NOT NULL, model TEXT NOT NULL, time DOUBLE
        PRECISION NOT NULL, actor TEXT NOT NULL, truth TEXT, figures TEXT NOT NULL, number BIGINT NOT NULL, joined
        BIGINT NOT NULL, revision BIGINT NOT NULL, correct BIGINT, error DOUBLE PRECISION, PRIMARY KEY (workspace,
        request_id, position)
    )""",
    "CREATE INDEX feedback_by_time ON feedback (workspace, model, time)",
    "CREATE INDEX feedback_by_number ON feedback (workspace, model, joined, number)",
    """CREATE TABLE reviews (
        workspace TEXT NOT NULL, request_id TEXT NOT NULL, position BIGINT NOT NULL, model TEXT NOT NULL, version
        BIGINT NOT NULL, time DOUBLE PRECISION NOT NULL, reasons TEXT NOT NULL, row TEXT NOT NULL, answer TEXT NOT
        NULL, confidence DOUBLE PRECISION, status TEXT NOT NULL, taken_by TEXT, taken_until DOUBLE PRECISION, truth
        TEXT, decided_by TEXT, decided TEXT, PRIMARY KEY (workspace, request_id, position)
    )""",
    "CREATE INDEX reviews_by_status ON reviews (workspace, model, status, time)",
)


def _add_serving(connection: Connection) -> None:
    """Tables of what serving knows: deployments, traffic, API keys, jobs, answers, feedback, reviews."""
    for statement in _SERVING:
        connection.execute(text(statement))


_TOLD = """FROM feedback f WHERE f.workspace = reviews.workspace AND f.request_id = reviews.request_id
        AND f.position = reviews.position AND f.joined = 1"""
_OWNERS = (
    "ALTER TABLE answers ADD COLUMN caller TEXT",
    """CREATE TABLE feedback_new (
        workspace TEXT NOT NULL, request_id TEXT NOT NULL, position BIGINT NOT NULL, teller TEXT NOT NULL, model TEXT
        NOT NULL, time DOUBLE PRECISION NOT NULL, actor TEXT NOT NULL, truth TEXT, figures TEXT NOT NULL, number
        BIGINT NOT NULL, joined BIGINT NOT NULL, revision BIGINT NOT NULL, correct BIGINT, error DOUBLE PRECISION,
        PRIMARY KEY (workspace, request_id, position, teller)
    )""",
    # Who told a truth that waits was not written down, so it waits for an answer of which nobody knows whose it is.
    """INSERT INTO feedback_new SELECT workspace, request_id, position, CASE joined WHEN 1 THEN '*' ELSE '' END, model,
        time, actor, truth, figures, number, joined, revision, correct, error FROM feedback""",
    "DROP TABLE feedback",
    "ALTER TABLE feedback_new RENAME TO feedback",
    "CREATE INDEX feedback_by_time ON feedback (workspace, model, time)",
    "CREATE INDEX feedback_by_number ON feedback (workspace, model, joined, number)",
    # Rows for review whose truth came by feedback were left open before.
    f"""UPDATE reviews SET status = 'told', taken_by = NULL, taken_until = NULL, truth = (SELECT f.truth {_TOLD}),
        decided_by = (SELECT f.actor {_TOLD})
        WHERE status IN ('open', 'taken') AND EXISTS (SELECT 1 {_TOLD} AND f.truth IS NOT NULL)""",
    """CREATE TABLE withdrawn (
        workspace TEXT NOT NULL, model TEXT NOT NULL, deployment TEXT NOT NULL, version BIGINT NOT NULL, time TEXT NOT
        NULL, PRIMARY KEY (workspace, model, deployment, version)
    )""",
)


def _add_owners(connection: Connection) -> None:
    """Whose an answer is, and a truth that waits for one; versions that were taken back."""
    for statement in _OWNERS:
        connection.execute(text(statement))


MIGRATIONS: tuple[Migration, ...] = (_add_serving, _add_owners)

_WORKSPACE = "*"  # the schema number is the whole ledger's; no workspace can be called so


def migrate(connection: Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Bring the ledger forward within the caller's write transaction; returns the number it had (0: new)."""
    newest = 1 + len(migrations)
    if not inspect(connection).has_table(meta.name):
        METADATA.create_all(connection)
        connection.execute(insert(meta).values(workspace=_WORKSPACE, key="schema", value=str(newest)))
        return 0
    number = schema_number(connection)
    if number > newest:
        raise StoreError(
            f"This ledger has schema number {number}, but this Luban knows only up to {newest}: a newer one wrote it.",
            "Run: pip install --upgrade luban",
        )
    for function in migrations[number - 1 :]:
        function(connection)
    if number < newest:
        connection.execute(update(meta).where(*_schema_row()).values(value=str(newest)))
    return number


def schema_number(connection: Connection) -> int:
    """The number that the ledger has."""
    found = connection.execute(select(meta.c.value).where(*_schema_row())).scalar()
    if found is None or not str(found).isdigit():
        raise StoreError(f"The ledger's schema number must be a whole number, but got {found!r}.", "Restore a backup.")
    return int(found)


def _schema_row() -> tuple[ColumnElement[bool], ...]:
    return (meta.c.workspace == _WORKSPACE, meta.c.key == "schema")
