"""The ledger's tables. Every row has a `workspace`.

JSON is kept as canonical text (sorted keys, no spaces), so that it can be hashed and compared on any
database; times a person reads are ISO 8601 in UTC, times that are compared are seconds since 1970.
A change here needs a function in `migrations.py` that brings older ledgers to the same shape.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Index, MetaData, Table, Text

METADATA = MetaData()


def _text(column: str, primary_key: bool = False, nullable: bool = False) -> Column[Any]:
    return Column(column, Text, primary_key=primary_key, nullable=nullable)


def _number(column: str, primary_key: bool = False) -> Column[Any]:
    # autoincrement=False: numbers are given here, without gaps, never by the database
    return Column(column, BigInteger, primary_key=primary_key, nullable=False, autoincrement=False)


def _seconds(column: str) -> Column[Any]:
    return Column(column, Double, nullable=False)


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, METADATA, _text("workspace", primary_key=True), *columns)


meta = _table("meta", _text("key", primary_key=True), _text("value"))

leases = _table(
    "leases",
    _text("name", primary_key=True),
    _number("number"),  # fencing number: grows with every new owner, never shrinks
    _text("owner", nullable=True),  # null: nobody
    _seconds("since"),
    _seconds("expires"),
)

results = _table("results", _text("key", primary_key=True), _text("value"), _text("time"))

decisions = _table(
    "decisions", _text("scope", primary_key=True), _text("key", primary_key=True), _text("value"), _text("time")
)

runs = _table(
    "runs",
    _text("id", primary_key=True),
    _text("name"),
    _text("status"),  # running, done, failed, interrupted or what the caller says
    _text("owner"),
    _text("started"),
    _text("ended", nullable=True),
    _text("config"),
    _text("environment"),
)
Index("runs_by_name", runs.c.workspace, runs.c.name, runs.c.started)

events = _table(
    "events",
    _text("run_id", primary_key=True),
    _number("number", primary_key=True),  # from 1 within its run
    _text("time"),
    _text("verb"),
    _text("message"),
    _text("data"),
)

datasets = _table(
    "datasets",
    _text("fingerprint", primary_key=True),
    _text("tree"),  # where the store holds it
    _number("rows"),
    _text("lineage"),
    _text("time"),
)

versions = _table(
    "versions",
    _text("model", primary_key=True),
    _number("version", primary_key=True),  # from 1 within its model
    _text("tree"),  # the bundle in the store
    _text("identity"),
    _text("run_id", nullable=True),
    _text("actor"),
    _text("time"),
    _text("detail"),  # JSON: metrics, gates, notes
)

aliases = _table(
    "aliases",
    _text("model", primary_key=True),
    _text("deployment", primary_key=True),
    _text("alias", primary_key=True),
    _number("version"),
    _text("time"),
)

audit = _table(
    "audit",
    _number("number", primary_key=True),  # from 1, without gaps
    _text("time"),
    _text("actor"),
    _text("verb"),
    _text("object"),
    _text("detail"),
    _text("previous"),
    _text("hash"),
)
