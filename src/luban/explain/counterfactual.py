"""Counterfactuals: the smallest change of a row that changes its answer.

(Wachter, Mittelstadt and Russell, "Counterfactual Explanations without Opening the Black Box", 2018.) A change takes a
part away, or puts another value in the place of a column's: for numbers quantiles of known rows, for others values of
known rows. Decided here:

- all single changes are tried first; where none suffices, the most promising are combined with others, up to
  `max_changes`, as long as there are tries; what is found is then made smaller by undoing what is not needed;
- of several, the one with the fewest changes wins, then that which moves a number least;
- what is found was answered by the bundle; where nothing is found it says so, and how much was tried: that is no
  proof that there is nothing;
- a number counts as changed when it moves by one deviation of the target, or by `least_change`.

It asks the model and does not know what a person can change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from luban.data.binary import shown
from luban.explain.attribution import spans
from luban.explain.base import Block, Case, Explainer, Finding, Grid, Json, Sentence, Unexplained
from luban.explain.question import Question

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BEAM = 3
RUNS = 12
"""Runs that a text of many parts is cut into: words of a long text seldom decide alone."""
WHOLE = 2.5
"""Cost of taking a whole column away: another value says more."""


@dataclass(frozen=True)
class Change:
    """One change of a row: parts of a column that go (`removed`, by position), or another value in its place (`to`).

    `cost` is 1 for a part, for numbers up to 1 more by how many deviations of known rows they move.
    """

    column: str
    removed: tuple[int, ...]
    to: Any
    cost: float
    shown: str


@dataclass(frozen=True, eq=False)
class Counterfactual(Finding):
    """Changes that together change the answer; none (empty) where none were found within `tries` rows."""

    method: str
    row: int | None
    before: Json
    after: Json | None
    changes: tuple[Change, ...]
    values: Json
    tries: int

    def to_json(self) -> Json:
        """`changes` have `column`, and `removed` (the name of a part) or `from` and `to`."""
        changes = []
        for change in self.changes:
            about = {"removed": change.shown} if change.removed else {"to": plain(change.to)}
            changes.append({"column": change.column, "from": self.values.get(change.column), **about})
        found = self.after is not None
        return {
            "method": self.method,
            "row": self.row,
            "found": found,
            "before": self.before,
            "after": self.after,
            "changes": changes,
            "tries": self.tries,
        }

    def blocks(self) -> Sequence[Block]:
        """What would have to be otherwise, as a table."""
        if self.after is None:
            return (Sentence("no_counterfactual", {"tries": self.tries, "answer": first(self.before)}),)
        cells = tuple((change.column, change.shown, _to(change)) for change in self.changes)
        about = {"answer": first(self.before), "other": first(self.after), "tries": self.tries}
        return (Sentence("counterfactual", about), Grid(("column", "what", "becomes"), cells))


class CounterfactualSearch(Explainer):
    """The smallest change of a row that changes its answer."""

    class Config(Explainer.Config):
        """How far is searched."""

        max_changes: int = Field(4, ge=1, le=20)
        """Changes at most that are combined."""
        tries: int = Field(2000, ge=1)
        """Rows that the bundle is asked, at most."""
        least_change: float | None = Field(None, gt=0)
        """How far a predicted number must move, in its own unit; one deviation of the target if left out."""

    def explain(self, case: Case) -> Sequence[Finding]:
        """A finding a row. Other values are those of `case.pool`."""
        return [q if isinstance(q, Unexplained) else self._one(q, case) for q in case.questions(self.kind)]

    def _one(self, question: Question, case: Case) -> Counterfactual:
        search = _Search(question, self.config.least_change, self.config.tries)
        found = search.smallest(changes_of(question, case.pool), self.config.max_changes)
        after = None
        if found:
            after = search.answer(found)
        return Counterfactual(
            method=self.kind,
            row=question.row,
            before=question.answer(),
            after=after,
            changes=tuple(found),
            values={name: plain(value) for name, value in question.values.items() if value is not None},
            tries=search.tries,
        )


class _Search:
    """Asks the bundle for changed rows and keeps count."""

    def __init__(self, question: Question, least_change: float | None, most: int) -> None:
        self.question, self.most, self.tries = question, most, 0
        decoding = question.bundle.manifest.task.decoding
        self._least = least_change if least_change is not None else float(decoding.get("scale", 0.0)) or 1e-9
        self._features = question.bundle.preprocess.features

    def smallest(self, changes: Sequence[Change], most_changes: int) -> list[Change]:
        """The cheapest set of changes found; empty where none was."""
        beam: list[list[Change]] = [[]]
        for _ in range(most_changes):
            tried = [[*base, change] for base in beam for change in changes if _fits(base, change)]
            tried = tried[: self.most - self.tries]
            if not tried:
                return []
            changed, figures = self._ask(tried)
            if changed.any():
                won = [tried[i] for i in np.flatnonzero(changed).tolist()]
                return self._undone(min(won, key=_cost))
            beam = [tried[i] for i in np.argsort(figures, kind="stable")[:BEAM].tolist()]
        return []

    def answer(self, changes: Sequence[Change]) -> Json:
        """The bundle's answer to the changed row."""
        bundle = self.question.bundle
        columns = {name: [value] for name, value in self._changed(changes).items()}
        outputs = bundle.run(bundle.encode(columns))
        decoded = bundle.task.decode(outputs, bundle.manifest.task.decoding, bundle.task.Options())
        return decoded.rows()[0]

    def _undone(self, changes: list[Change]) -> list[Change]:
        """The changes without those that are not needed, and runs of parts cut down to what is."""
        kept, queue = changes, sorted(changes, key=lambda change: -change.cost)
        while queue and self.tries < self.most:
            change = queue.pop(0)
            rest = [one for one in kept if one is not change]
            smaller = [rest] if rest else []
            smaller += [[*rest, half] for half in self._halves(change)]
            changed = self._ask(smaller)[0] if smaller else np.zeros(0, bool)
            if changed.any():
                kept = smaller[int(np.argmax(changed))]
                queue += [one for one in kept if one not in changes and one not in queue]
        return kept

    def _halves(self, change: Change) -> list[Change]:
        """A run of parts as its two halves; nothing for other changes."""
        if len(change.removed) < 2:
            return []
        middle = len(change.removed) // 2
        return [_run(self.question, change.column, half) for half in (change.removed[:middle], change.removed[middle:])]

    def _ask(self, tried: Sequence[Sequence[Change]]) -> tuple[np.ndarray, np.ndarray]:
        """Whether the answer is another [M], and the explained quantity [M] (of numbers: how near a change it is)."""
        question, bundle = self.question, self.question.bundle
        rows = [self._changed(changes) for changes in tried]
        columns = {name: [row[name] for row in rows] for name in question.values}
        outputs = bundle.run(bundle.encode(columns))
        self.tries += len(rows)
        figures = question.quantity.one(outputs, question.number)
        if len(question.quantity.names) == 1:
            moved = np.abs(figures - question.output)
            return moved >= self._least, -moved
        given = bundle.task.answered(
            bundle.task.scores(outputs, bundle.manifest.task.decoding), bundle.manifest.task.decoding
        )
        before = bundle.task.answered(
            bundle.task.scores(question.outputs[:1], bundle.manifest.task.decoding), bundle.manifest.task.decoding
        )[0]
        changed = (given != before).any(axis=1) if given.ndim == 2 else given != before
        return np.asarray(changed), figures

    def _changed(self, changes: Sequence[Change]) -> dict[str, Any]:
        """The row's values with these changes."""
        values = dict(self.question.values)
        for column in dict.fromkeys(change.column for change in changes):
            own = [change for change in changes if change.column == column]
            removed = [i for change in own for i in change.removed]
            if removed:
                values[column] = self._features[column].parts(values[column]).without(removed)
            else:
                values[column] = own[0].to
        return values


def changes_of(question: Question, pool: Mapping[str, Sequence[Any]]) -> list[Change]:
    """All single changes of a row: a part less, or another value of the pool."""
    found = []
    for part in question.parts:
        whole = len(question.groups[part.column]) == 1
        found.append(Change(part.column, (part.number,), None, WHOLE if whole else 1.0, part.name))
    found += _runs(question)
    for column in dict.fromkeys(column for column, _ in question.bundle.encoders):
        value = question.values[column]
        known = [other for other in pool.get(column, ()) if other is not None]
        if value is None or not known or len(question.groups.get(column, ())) > 1:
            continue
        if isinstance(value, float):
            spread = float(np.std(known)) or 1.0
            others = sorted(set(np.quantile(known, QUANTILES).tolist()) - {value})
            found += [
                Change(column, (), other, 1 + min(abs(other - value) / spread, 10.0) / 10, f"{value:g}")
                for other in others
            ]
        else:
            others = list(dict.fromkeys(other for other in known if other != value))[:20]
            found += [Change(column, (), other, 1.0, str(value)) for other in others]
    return found


def _runs(question: Question) -> list[Change]:
    """Runs of neighbouring parts of columns that have many."""
    found = []
    for column, parts in question.groups.items():
        if len(parts) >= 2 * RUNS:
            numbers = [tuple(piece.tolist()) for piece in np.array_split(np.arange(len(parts)), RUNS)]
            found += [_run(question, column, run) for run in numbers]
    return found


def _run(question: Question, column: str, numbers: tuple[int, ...]) -> Change:
    """A run of neighbouring parts that goes, shown as it stands in a text."""
    where = spans(question, column)
    if where is None:
        shown = " ".join(question.parts[question.groups[column][number]].name for number in numbers)
    else:
        shown = question.values[column][where[numbers[0]][0] : where[numbers[-1]][1]]
    return Change(column, numbers, None, float(len(numbers)), shown)


def _fits(base: Sequence[Change], change: Change) -> bool:
    """Whether a change can be made beside others: one value per column, or several parts less, each once."""
    same = [one for one in base if one.column == change.column]
    if not same:
        return True
    gone = {i for one in same for i in one.removed}
    return bool(change.removed) and all(one.removed for one in same) and not gone.intersection(change.removed)


def _cost(changes: Sequence[Change]) -> float:
    return sum(change.cost for change in changes)


def _to(change: Change) -> str:
    return "—" if change.removed else f"{change.to:g}" if isinstance(change.to, float) else str(change.to)


def first(answer: Mapping[str, Any]) -> str:
    """The first column of an answer, as text."""
    value = next(iter(answer.values()), "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    """A parsed value as JSON has it; of bytes what they are."""
    value = shown(value)
    return value if value is None or isinstance(value, (str, int, float, bool, list)) else str(value)
