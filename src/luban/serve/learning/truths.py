"""Truths of answers in the ledger: how they are kept, judged and joined to what was answered.

Decided here:
- the latest truth wins, and the latest of each figure; what says the same again changes nothing;
- a truth whose answer is not recorded (yet) is kept as pending, at most MAX_PENDING a model, and joined when the
  answer comes: answers are written in the background, and may come later than a quick truth;
- a truth belongs to the model that gave the answer, whatever path it came by.

Every function works within the caller's transaction. Knows no protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson
from sqlalchemy import Row, and_, func, insert, select, update

from luban.data.binary import written
from luban.store.database import Transaction
from luban.store.tables import answers, feedback, meta
from luban.tasks.base import Judgement

MAX_PENDING, MOST_ASKED = 10_000, 500
COUNTER = "feedback"
"""Where the table `meta` holds the number of the last change."""
Judge: TypeAlias = Callable[[str, Mapping[str, Any], Any], Judgement]
"""What a truth says of an answer, by model."""
State: TypeAlias = Literal["joined", "pending", "refused"]


@dataclass(frozen=True, slots=True)
class Truth:
    """What somebody says of one answer. `truth` as its column's type parses it, None where only figures are told."""

    request_id: str
    position: int
    truth: Any = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a truth; `reason` where it was refused."""

    state: State
    reason: str = ""


def answering(tx: Transaction, request_id: str, position: int) -> Row[Any] | None:
    """The recorded answer, or None."""
    return tx.execute(
        select(answers).where(
            answers.c.workspace == tx.workspace, answers.c.request_id == request_id, answers.c.position == position
        )
    ).first()


def keep(tx: Transaction, told: Truth, model: str, actor: str, judge: Judge) -> Kept:
    """Keep a truth, joined to its answer where that is recorded. `model` is whose answer it is taken to be if not."""
    answer = answering(tx, told.request_id, told.position)
    there = _feedback(tx, told.request_id, told.position)
    if answer is None and there is None and _pending(tx, model) >= MAX_PENDING:
        return Kept("refused", f"no such answer is recorded, and {MAX_PENDING:,} truths wait for theirs already")
    truth, figures = _merged(there, told)
    state: State = "pending" if answer is None else "joined"
    row: dict[str, Any] = {
        "model": model if answer is None else answer.model,
        "truth": truth,
        "figures": figures,
        "joined": int(answer is not None),
    }
    if there is not None and all(getattr(there, name) == value for name, value in row.items()):
        return Kept(state)
    row |= _judged(row["model"], answer, truth, judge)
    row |= {"time": tx.clock(), "actor": actor, "number": next_number(tx)}
    if there is None:
        key = {"workspace": tx.workspace, "request_id": told.request_id, "position": told.position}
        tx.execute(insert(feedback).values(**key, **row, revision=0))
    else:
        changed = (there.truth, there.figures) != (truth, figures)
        tx.execute(update(feedback).where(*_is(tx, there)).values(**row, revision=there.revision + int(changed)))
    return Kept(state)


def join(tx: Transaction, keys: Sequence[tuple[str, int]], judge: Judge) -> int:
    """Join pending truths to answers that were just recorded; how many there were."""
    asked = list({request_id for request_id, _ in keys})
    pending: set[tuple[str, int]] = set()
    for start in range(0, len(asked), MOST_ASKED):
        some = feedback.c.request_id.in_(asked[start : start + MOST_ASKED])
        where = (feedback.c.workspace == tx.workspace, feedback.c.joined == 0, some)
        found = tx.execute(select(feedback.c.request_id, feedback.c.position).where(*where))
        pending.update((row.request_id, int(row.position)) for row in found)
    count = 0
    for request_id, position in pending.intersection(keys):
        answer, there = answering(tx, request_id, position), _feedback(tx, request_id, position)
        if answer is None or there is None:
            continue
        judged = _judged(answer.model, answer, there.truth, judge)
        row = {"model": answer.model, "joined": 1, "number": next_number(tx), **judged}
        tx.execute(update(feedback).where(*_is(tx, there)).values(row))
        count += 1
    return count


def next_number(tx: Transaction) -> int:
    """One more than any change so far had, also of truths that were removed since.

    Writers take turns, so numbers are in the order of commits.
    """
    where = (meta.c.workspace == tx.workspace, meta.c.key == COUNTER)
    last = tx.scalar(select(meta.c.value).where(*where))
    if last is None:
        tx.execute(insert(meta).values(workspace=tx.workspace, key=COUNTER, value="1"))
        return 1
    tx.execute(update(meta).where(*where).values(value=str(int(last) + 1)))
    return int(last) + 1


def as_text(value: object) -> str:
    """JSON as the ledger keeps it: sorted keys; what JSON has no word for becomes text, bytes a data URI."""
    return orjson.dumps(value, default=_in_words, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


def _in_words(value: object) -> str:
    return str(written(value))


def in_order(value: object) -> str:
    """The same with keys as they came: an answer begins with what is answered, a row stands as its columns do."""
    return orjson.dumps(value, default=_in_words, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def _merged(there: Row[Any] | None, told: Truth) -> tuple[str | None, str]:
    """Truth and figures as they are now."""
    truth = None if told.truth is None else as_text(told.truth)
    figures = dict(told.figures)
    if there is not None:
        truth = there.truth if truth is None else truth
        figures = {**json.loads(there.figures), **figures}
    return truth, as_text(figures)


def _judged(model: str, answer: Row[Any] | None, truth: str | None, judge: Judge) -> dict[str, Any]:
    if answer is None or truth is None:
        return {"correct": None, "error": None}
    found = judge(model, json.loads(answer.answer), json.loads(truth))
    return {"correct": None if found.correct is None else int(found.correct), "error": found.error}


def _feedback(tx: Transaction, request_id: str, position: int) -> Row[Any] | None:
    where = and_(feedback.c.request_id == request_id, feedback.c.position == position)
    return tx.execute(select(feedback).where(feedback.c.workspace == tx.workspace, where)).first()


def _is(tx: Transaction, row: Row[Any]) -> tuple[Any, ...]:
    return (
        feedback.c.workspace == tx.workspace,
        feedback.c.request_id == row.request_id,
        feedback.c.position == row.position,
    )


def _pending(tx: Transaction, model: str) -> int:
    where = (feedback.c.workspace == tx.workspace, feedback.c.model == model, feedback.c.joined == 0)
    return int(tx.scalar(select(func.count()).select_from(feedback).where(*where)) or 0)
