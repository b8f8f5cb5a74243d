from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, inspect, text

from luban.errors import StoreError
from luban.store.ledger import Ledger
from luban.store.migrations import MIGRATIONS, migrate, schema_number
from luban.store.tables import METADATA, meta


def add_note(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE runs ADD COLUMN note TEXT"))


def fill_note(connection: Connection) -> None:
    connection.execute(text("UPDATE runs SET note = name"))


def fail(connection: Connection) -> None:
    connection.execute(text("DELETE FROM runs"))
    raise KeyError("a migration that fails")


@pytest.fixture
def older(ledger_url: str) -> str:
    """A ledger as this code makes it, with a run: the older one of what later code would bring forward."""
    ledger = Ledger(ledger_url)
    ledger.end_run(ledger.begin_run("reviews", {}, {}), "done")
    ledger.close()
    return ledger_url


def engine_of(url: str):
    return create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


def test_an_older_ledger_is_brought_forward_step_by_step(older: str) -> None:
    engine = engine_of(older)
    later = (*MIGRATIONS, add_note, fill_note)
    with engine.begin() as connection:
        assert migrate(connection, later) == 1 + len(MIGRATIONS)
        assert schema_number(connection) == 1 + len(later)
    with engine.begin() as connection:
        assert migrate(connection, later) == 1 + len(later), "nothing is done twice"
        assert connection.execute(text("SELECT name, note FROM runs")).all() == [("reviews", "reviews")]
    engine.dispose()


def test_a_newer_ledger_is_refused(older: str) -> None:
    engine = engine_of(older)
    with engine.begin() as connection:
        migrate(connection, (*MIGRATIONS, add_note))
    engine.dispose()
    with pytest.raises(StoreError, match="a newer one wrote it"):
        Ledger(older).runs()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = Ledger(url)
    ledger.begin_run("reviews", {}, {})
    from luban.store import database

    with pytest.raises(KeyError), ledger._database.write() as tx:
        migrate(tx.connection, (*MIGRATIONS, add_note, fail))
    assert database.now()
    assert len(ledger.runs()) == 1
    with ledger.reading() as tx:
        assert "note" not in {column["name"] for column in inspect(tx.connection).get_columns("runs")}
        assert schema_number(tx.connection) == 1 + len(MIGRATIONS)


def test_every_row_has_a_workspace() -> None:
    for table in METADATA.tables.values():
        assert next(iter(table.primary_key)).name == "workspace", table.name


def test_truths_and_reviews_of_before_answers_had_owners(ledger_url: str) -> None:
    """Schema number 2 to 3: nothing is lost, what waits is nobody's, and a row whose truth is known is closed."""
    engine = engine_of(ledger_url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE meta (workspace TEXT, key TEXT, value TEXT, PRIMARY KEY (workspace, key))")
        )
        MIGRATIONS[0](connection)
        connection.execute(insert(meta).values(workspace="*", key="schema", value="2"))
        for position, joined in ((0, 1), (1, 0)):
            values = f"('w', 'r', {position}, 'm', 1.0, 'ada', '\"good\"', '{{}}', {position + 1}, {joined}, 0, 1, 0.0)"
            connection.execute(text(f"INSERT INTO feedback VALUES {values}"))
            values = f"('w', 'r', {position}, 'm', 1, 1.0, '[]', '{{}}', '{{}}', NULL, 'taken', 'bo', 9.0)"
            columns = "workspace, request_id, position, model, version, time, reasons, row, answer, confidence, status"
            connection.execute(text(f"INSERT INTO reviews ({columns}, taken_by, taken_until) VALUES {values}"))
        assert migrate(connection) == 2
    with engine.begin() as connection:
        told = connection.execute(
            text("SELECT position, teller, truth, number, joined FROM feedback ORDER BY position")
        )
        assert told.all() == [(0, "*", '"good"', 1, 1), (1, "", '"good"', 2, 0)]
        rows = connection.execute(text("SELECT status, truth, decided_by, taken_by FROM reviews ORDER BY position"))
        assert rows.all() == [("told", '"good"', "ada", None), ("taken", None, None, "bo")]
    engine.dispose()


def test_a_ledger_of_the_first_schema_number_gets_the_tables_of_serving(tmp_path: Path) -> None:
    fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    old = create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    added = ("deployments", "traffic", "api_keys", "jobs", "answers", "feedback", "reviews", "withdrawn")
    with fresh.begin() as connection:
        migrate(connection)
    with old.begin() as connection:
        METADATA.create_all(connection, [table for name, table in METADATA.tables.items() if name not in added])
        connection.execute(insert(meta).values(workspace="*", key="schema", value="1"))
        assert migrate(connection) == 1
    with fresh.begin() as a, old.begin() as b:
        for name in METADATA.tables:
            columns = [
                [
                    (c["name"], str(c["type"]).replace("DOUBLE", "REAL"), c["nullable"])
                    for c in inspect(one).get_columns(name)
                ]
                for one in (a, b)
            ]
            assert columns[0] == columns[1], name
            assert inspect(a).get_pk_constraint(name) == inspect(b).get_pk_constraint(name)
            assert sorted(i["name"] or "" for i in inspect(a).get_indexes(name)) == sorted(
                i["name"] or "" for i in inspect(b).get_indexes(name)
            )
