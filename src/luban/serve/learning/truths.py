"""Truths of answers in the ledger: how they are kept, judged and joined to what was answered.

Decided here:
- the latest truth wins, and the latest of each figure; what says the same again changes nothing;
- a truth whose answer is not recorded (yet) is kept as pending, at most MAX_PENDING a caller and model, and joined when
  the answer comes: answers are written in the background, and may come later than a quick truth;
- a truth belongs to the model that gave the answer, whatever path it came by;
- an answer is known to who asked for it, by the id of its key or token, and to operators (`Caller.owns`). A truth from
  anybody else is taken as one whose answer is not recorded, so that nobody learns which ids there are: it waits apart
  from those of others (`teller`), and never joins;
- a row of the review queue whose truth came is closed (`review_rows.py`).

Every function works within the caller's transaction. Knows no protocol.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import orjson
from sqlalchemy import Row, and_, bindparam, delete, func, insert, select, update

from luban.data.binary import written
from luban.serve.learning.review_rows import close_told
from luban.store.database import Transaction
from luban.store.tables import answers, feedback, meta
from luban.tasks.base import Judgement

if TYPE_CHECKING:
    from luban.serve.question import Caller

MAX_PENDING, MOST_ASKED = 10_000, 500
COUNTER = "feedback"
"""Where the table `meta` holds the number of the last change."""
ANY = "*"
"""The teller of a truth that may be of any answer, and of all that are joined; no id of a caller."""
Judge: TypeAlias = Callable[[str, Mapping[str, Any], Any], Judgement]
"""What a truth says of an answer, by model."""
State: TypeAlias = Literal["joined", "pending", "refused"]
# Made once: a statement with `in_` lies in a circle, and each would hold its ids until the collector comes by.
_WAITING = select(feedback).where(
    feedback.c.workspace == bindparam("workspace"),
    feedback.c.joined == 0,
    feedback.c.request_id.in_(bindparam("asked", expanding=True)),
)


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


def answering(tx: Transaction, request_id: str, position: int, caller: Caller | None = None) -> Row[Any] | None:
    """The recorded answer, or None; with a `caller`, only where it is that one's to know of."""
    found = tx.execute(
        select(answers).where(
            answers.c.workspace == tx.workspace, answers.c.request_id == request_id, answers.c.position == position
        )
    ).first()
    if found is None or caller is None or caller.owns(found.model, found.caller or ""):
        return found
    return None


def keep(tx: Transaction, told: Truth, model: str, caller: Caller, judge: Judge) -> Kept:
    """Keep a truth, joined to its answer where that is recorded. `model` is whose answer it is taken to be if not."""
    answer = answering(tx, told.request_id, told.position, caller)
    teller = ANY if answer is not None or _tells_of_any(caller) else caller.id
    there = _feedback(tx, told, teller)
    if answer is None and there is None and _pending(tx, model, teller) >= MAX_PENDING:
        return Kept("refused", f"no such answer is recorded, and {MAX_PENDING:,} truths wait for theirs already")
    _write(tx, told, model, answer, judge, _Told(teller, caller.name, tx.clock()))
    return Kept("pending" if answer is None else "joined")


def join(tx: Transaction, keys: Sequence[tuple[str, int]], judge: Judge) -> int:
    """Join pending truths to answers that were just recorded; how many there were."""
    asked = list({request_id for request_id, _ in keys})
    pending: list[Row[Any]] = []
    for start in range(0, len(asked), MOST_ASKED):
        some = {"workspace": tx.workspace, "asked": asked[start : start + MOST_ASKED]}
        pending += tx.connection.execute(_WAITING, some)
    wanted, count = set(keys), 0
    for row in sorted(pending, key=lambda one: int(one.number)):
        answer = answering(tx, row.request_id, row.position) if (row.request_id, row.position) in wanted else None
        if answer is None or row.teller not in (ANY, answer.caller or ""):
            continue
        tx.execute(delete(feedback).where(*_is(tx, row)))
        truth = None if row.truth is None else json.loads(row.truth)
        told = Truth(row.request_id, row.position, truth, json.loads(row.figures))
        _write(tx, told, answer.model, answer, judge, _Told(ANY, row.actor, row.time, row.revision))
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class _Told:
    """Whose a truth is, and when it was told."""

    teller: str
    actor: str
    time: float
    revision: int = 0


def _tells_of_any(caller: Caller) -> bool:
    """Whether a truth of this caller may wait for an answer of anybody, whatever its model."""
    return caller.may("operator") and caller.models is None


def _write(tx: Transaction, told: Truth, model: str, answer: Row[Any] | None, judge: Judge, by: _Told) -> None:
    """Add to what is known of an answer; nothing where it says the same again."""
    there = _feedback(tx, told, by.teller)
    truth, figures = _merged(there, told)
    row: dict[str, Any] = {
        "model": model if answer is None else answer.model,
        "truth": truth,
        "figures": figures,
        "joined": int(answer is not None),
    }
    if answer is not None and told.truth is not None:
        close_told(tx, told.request_id, told.position, as_text(told.truth), by.actor)
    if there is not None and all(getattr(there, name) == value for name, value in row.items()):
        return
    row |= _judged(row["model"], answer, truth, judge)
    row |= {"time": by.time, "actor": by.actor, "number": next_number(tx)}
    if there is None:
        key = {"workspace": tx.workspace, "request_id": told.request_id, "position": told.position}
        tx.execute(insert(feedback).values(**key, teller=by.teller, **row, revision=by.revision))
    else:
        changed = (there.truth, there.figures) != (truth, figures)
        tx.execute(update(feedback).where(*_is(tx, there)).values(**row, revision=there.revision + int(changed)))


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


def _feedback(tx: Transaction, told: Truth, teller: str) -> Row[Any] | None:
    same = and_(feedback.c.request_id == told.request_id, feedback.c.position == told.position)
    mine = (feedback.c.workspace == tx.workspace, same, feedback.c.teller == teller)
    return tx.execute(select(feedback).where(*mine)).first()


def _is(tx: Transaction, row: Row[Any]) -> tuple[Any, ...]:
    return (
        feedback.c.workspace == tx.workspace,
        feedback.c.request_id == row.request_id,
        feedback.c.position == row.position,
        feedback.c.teller == row.teller,
    )


def _pending(tx: Transaction, model: str, teller: str) -> int:
    waits = (feedback.c.model == model, feedback.c.joined == 0, feedback.c.teller == teller)
    return int(
        tx.scalar(select(func.count()).select_from(feedback).where(feedback.c.workspace == tx.workspace, *waits)) or 0
    )
