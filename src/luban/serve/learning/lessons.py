"""Rows whose truth is known, written as the project's own source has them, so that they can be trained on.

Decided here: the file has the columns of the source, in its order and types, so it can lie beside the other files; the
target is the latest truth; columns that a served row did not have are missing. Rows are as they were sent; where the
source has numbers, they are read as the column's type reads them. An answer whose row was not kept teaches nothing, and
is counted. Each export stands on the audit trail: rows may be personal data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import and_, or_, select

from luban.catalog import FEATURES
from luban.data.sinks import open_sink
from luban.errors import DataError
from luban.policy.rules import Actor, allow
from luban.serve.learning.review_rows import DONE
from luban.serve.learning.truths import ANY
from luban.store.tables import answers, feedback, reviews

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle
    from luban.store.ledger import Ledger

PAGE_ROWS = 1000


@dataclass(frozen=True)
class Lesson:
    """One row as it was asked, and its truth; `row` is None where it was not kept."""

    request_id: str
    position: int
    row: dict[str, Any] | None
    truth: Any


@dataclass(frozen=True)
class Exported:
    """How many rows were written, and how many truths have no row."""

    num_rows: int
    num_without_row: int


def lessons(ledger: Ledger, model: str, only_reviewed: bool) -> Iterator[Lesson]:
    """Answers whose truth is known, in the order in which truths came; or of these only those that a person decided."""
    number = 0
    while True:
        found = _page(ledger, model, only_reviewed, number)
        for row in found:
            kept = row.row if row.row is not None else row.reviewed
            yield Lesson(
                row.request_id, int(row.position), None if kept is None else json.loads(kept), json.loads(row.truth)
            )
        if len(found) < PAGE_ROWS:
            return
        number = int(found[-1].number)


def _page(ledger: Ledger, model: str, only_reviewed: bool, after: int) -> Sequence[Any]:
    def same(table: Any) -> Any:
        names = ("workspace", "request_id", "position")
        return and_(*(table.c[name] == feedback.c[name] for name in names))

    asked = (feedback.c.number, feedback.c.request_id, feedback.c.position, feedback.c.truth, answers.c.row)
    with ledger.reading() as tx:
        statement = (
            select(*asked, reviews.c.row.label("reviewed"))
            .join(answers, same(answers), isouter=True)
            .join(reviews, same(reviews), isouter=True)
            .where(feedback.c.workspace == tx.workspace, feedback.c.model == model, feedback.c.truth.is_not(None))
            .where(feedback.c.number > after)
            # A truth that waits says nothing of an answer that is there: it may be a stranger's.
            .where(or_(feedback.c.joined == 1, and_(feedback.c.teller == ANY, answers.c.request_id.is_(None))))
        )
        if only_reviewed:
            statement = statement.where(reviews.c.status == DONE)
        return tx.execute(statement.order_by(feedback.c.number).limit(PAGE_ROWS)).all()


def export(
    ledger: Ledger, bundle: Bundle, model: str, path: str, actor: Actor, shape: pa.Schema, only_reviewed: bool = False
) -> Exported:
    """Write what can be learnt to `path` (its extension says the format), and note it on the audit trail.

    `shape` has the columns and types of the project's source. Raises DataError where there is nothing, Denied,
    StoreError.
    """
    what = "reviews" if only_reviewed else "feedback"
    allow(actor, "export", f"{what} of model {model}")
    found = list(lessons(ledger, model, only_reviewed))
    known = [one for one in found if one.row is not None]
    if not known:
        hint = "Set `serve.records.rows: true`, so that rows are kept." if found else "Post some: POST /v1/feedback."
        raise DataError(f"No truth of `{model}` has a row that could be written ({len(found)} have none).", hint)
    sink = open_sink(path)
    sink.open(path, shape)
    with sink:
        for start in range(0, len(known), PAGE_ROWS):
            sink.write(_batch(known[start : start + PAGE_ROWS], bundle, shape))
    exported = Exported(len(known), len(found) - len(known))
    detail = {"rows": exported.num_rows, "without_row": exported.num_without_row, "file": path.rpartition("/")[2]}
    with ledger.transaction() as tx:
        ledger.audit(tx, actor.name, "export", f"{what} of model {model}", detail)
    return exported


def shape_of(bundle: Bundle) -> pa.Schema:
    """Columns and types of a source like that of a bundle, where the source itself cannot be asked."""
    fields = []
    for column in bundle.schema.columns:
        storage = FEATURES.make(column.type, column.settings).storage if column.role in ("input", "target") else None
        fields.append(pa.field(column.name, storage or pa.string()))
    return pa.schema(fields)


def _batch(some: Sequence[Lesson], bundle: Bundle, shape: pa.Schema) -> pa.RecordBatch:
    target = bundle.manifest.task.target
    rows = [one.row or {} for one in some]
    parsed = bundle.values(rows).columns
    columns = []
    for one in shape:
        raw = [row.get(one.name) for row in rows]
        if one.name == target:
            raw = values = [lesson.truth for lesson in some]
        else:
            values = parsed.get(one.name, raw)
        columns.append(_column(one, raw, values))
    return pa.RecordBatch.from_arrays(columns, schema=shape)


def _column(field: pa.Field, raw: list[Any], parsed: list[Any]) -> pa.Array:
    """Values of one column in the source's type: text as it was sent, all else as it was read."""
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        return pa.array([_text(value) for value in raw], field.type)
    try:
        return pa.array(parsed, field.type, from_pandas=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        try:
            return pa.array(parsed).cast(field.type)
        except pa.ArrowException as error:
            raise DataError(
                f"Column `{field.name}` is {field.type} in the project's source, but rows that were served hold "
                f"other values: {error}.",
                "Write to a file of its own, as .csv or .jsonl.",
            ) from error


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)
