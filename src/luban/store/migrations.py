"""How an older ledger becomes one of today.

The ledger has a schema number. A new ledger is made by `tables.py` with the newest number; an older
one is brought forward, one function after the other, in one transaction. A newer one is refused.
`MIGRATIONS[0]` brings a ledger from number 1 to 2, and so on: functions are appended, never changed.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, insert, inspect, select, update

from luban.errors import StoreError
from luban.store.tables import METADATA, meta

Migration = Callable[[Connection], None]

MIGRATIONS: tuple[Migration, ...] = ()

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
