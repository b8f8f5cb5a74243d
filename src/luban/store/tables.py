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


def _seconds(column: str, nullable: bool = False) -> Column[Any]:
    return Column(column, Double, nullable=nullable)


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

deployments = _table(
    "deployments",
    _text("model", primary_key=True),
    _text("deployment", primary_key=True),
    _number("revision"),  # grows with every change
    _text("state"),  # JSON: arms and weights, shadow, canary, test
    _text("actor"),
    _text("time"),
)

withdrawn = _table(
    "withdrawn",  # versions that were taken back, and were given no questions since
    _text("model", primary_key=True),
    _text("deployment", primary_key=True),
    _number("version", primary_key=True),
    _text("time"),
)

traffic = _table(
    "traffic",
    _text("model", primary_key=True),
    _text("deployment", primary_key=True),
    _number("revision", primary_key=True),  # of the deployment that shared the questions out
    _text("server", primary_key=True),  # one process, signed
    _number("version", primary_key=True),
    _text("figures"),  # JSON: what it counted since it began with this revision
    _seconds("time"),
)

api_keys = _table(
    "api_keys",
    _text("id", primary_key=True),
    _text("name"),
    _text("hash"),  # SHA-256 of the key, in hexadecimal; the key itself is nowhere
    _text("role"),
    _text("models"),  # JSON: names, or null for all
    _text("limits"),  # JSON: limits of this key alone
    _text("created"),
    _text("created_by"),
    _seconds("expires", nullable=True),
    _text("revoked", nullable=True),
)

jobs = _table(
    "jobs",
    _text("id", primary_key=True),
    _text("kind"),
    _text("model"),
    _text("status"),  # waiting, running, done, failed, cancelled
    _text("actor"),
    _text("request"),  # JSON; large things are blobs that it names
    _text("result", nullable=True),  # JSON
    _text("error", nullable=True),
    _seconds("progress"),  # 0 to 1
    _text("counts"),  # JSON: what was counted so far, by name
    _number("attempts"),
    _number("max_attempts"),
    _seconds("not_before"),
    _text("owner", nullable=True),  # who works on it
    _seconds("expires"),  # when its owner must have said that it lives
    _number("cancel"),  # 1: its owner should stop
    _text("created"),
    _text("started", nullable=True),
    _text("ended", nullable=True),
)
Index("jobs_by_status", jobs.c.workspace, jobs.c.status, jobs.c.not_before)

answers = _table(
    "answers",
    _text("request_id", primary_key=True),
    _number("position", primary_key=True),  # of the row in its request, from 0
    _text("model"),
    _text("deployment"),
    _number("version"),
    _text("arm"),
    _seconds("time"),
    _text("answer"),  # JSON
    _seconds("confidence", nullable=True),
    _text("row", nullable=True),  # JSON, where rows are kept
    _text("unit", nullable=True),  # whom chance gave to the arm: a hash of the sticky key; null: the request itself
    _seconds("share", nullable=True),  # the arm's weight at that moment, 0 to 1
    _text("caller", nullable=True),  # id of the key or token that asked; "": none was asked for; null: not known
)
Index("answers_by_time", answers.c.workspace, answers.c.model, answers.c.time)

feedback = _table(
    "feedback",
    _text("request_id", primary_key=True),
    _number("position", primary_key=True),
    _text("teller", primary_key=True),  # whose a truth is that waits for its answer; "*": an operator's, or joined
    _text("model"),
    _seconds("time"),
    _text("actor"),
    _text("truth", nullable=True),  # JSON
    _text("figures"),  # JSON: business figures by name
    _number("number"),  # grows with every change in the workspace, in the order of commits: what readers go by
    _number("joined"),  # 1: the answer is in `answers`; 0: it is not there yet
    _number("revision"),  # how often it was changed
    Column("correct", BigInteger, nullable=True),  # 1 or 0; null: cannot be said
    _seconds("error", nullable=True),  # 0 or 1 for classes, a distance in the target's unit for numbers
)
Index("feedback_by_time", feedback.c.workspace, feedback.c.model, feedback.c.time)
Index("feedback_by_number", feedback.c.workspace, feedback.c.model, feedback.c.joined, feedback.c.number)

reviews = _table(
    "reviews",
    _text("request_id", primary_key=True),
    _number("position", primary_key=True),
    _text("model"),
    _number("version"),
    _seconds("time"),
    _text("reasons"),  # JSON: why a person should look
    _text("row"),  # JSON
    _text("answer"),  # JSON
    _seconds("confidence", nullable=True),
    _text("status"),  # open, taken, done, told, dropped
    _text("taken_by", nullable=True),
    _seconds("taken_until", nullable=True),
    _text("truth", nullable=True),  # JSON: what the person decided, or feedback told
    _text("decided_by", nullable=True),
    _text("decided", nullable=True),
)
Index("reviews_by_status", reviews.c.workspace, reviews.c.model, reviews.c.status, reviews.c.time)

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
