"""What is known of a canary or a test: counts of all servers, and truth as it arrives.

One *unit* is whom chance gave to an arm: a caller with a sticky key, else the request itself. A unit counts once, by
the first outcomes that came for it (of one request, told within a second): later ones say nothing new about the draw.
So what is read again from the beginning, after a restart, gives the same. Outcomes are kept apart by the share of
the draw that they took part in. Knows no verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from sqlalchemy import select

from luban.evaluate.sequential import Moments, Totals
from luban.serve.learning.outcomes import Outcome, Outcomes
from luban.serve.learning.review import SAMPLE
from luban.serve.learning.review_rows import DONE
from luban.serve.traffic.counts import Counts, Row, totals
from luban.store.ledger import Ledger
from luban.store.tables import reviews

ACCURACY, ERROR = "accuracy", "error"
TOGETHER_S = 1.0
"""Truths of one request that come within so many seconds are one outcome."""
_PAGE = 1000
_MOST_PAGES = 50
Pair = tuple[Moments, Moments]
Chosen = Callable[[list[Outcome]], Collection[tuple[str, int]]]
"""Those rows, by request id and position, that a person decided for what was answered."""


def chosen_for_review(ledger: Ledger) -> Chosen:
    """Looks them up in the review queue."""

    def look(found: list[Outcome]) -> Collection[tuple[str, int]]:
        ids = {one.request_id for one in found}
        with ledger.reading() as tx:
            mine = (reviews.c.workspace == tx.workspace, reviews.c.request_id.in_(ids), reviews.c.status == DONE)
            rows = tx.execute(select(reviews.c.request_id, reviews.c.position, reviews.c.reasons).where(*mine)).all()
        return {(row.request_id, int(row.position)) for row in rows if SAMPLE not in json.loads(row.reasons)}

    return look


@dataclass(frozen=True)
class Traffic:
    """Counts of challenger and champion by share, and why servers refuse the challenger."""

    challenger: dict[float, Counts]
    champion: dict[float, Counts]
    refusals: tuple[str, ...]
    newest: int
    """Requests that the challenger had under the newest share."""

    @classmethod
    def of(cls, rows: list[Row], challenger: int, champion: int, newest_revision: int) -> Traffic:
        """From what servers wrote; `newest_revision` is the first one of the newest share."""
        refusals = {
            str(row.figures["refused"]) for row in rows if row.version == challenger and "refused" in row.figures
        }
        newest = sum(
            int(row.figures.get("requests", 0))
            for row in rows
            if row.version == challenger and row.revision >= newest_revision
        )
        return cls(totals(rows, challenger), totals(rows, champion), tuple(sorted(refusals)), newest)

    def both(self) -> list[tuple[float, Counts, Counts]]:
        """Share, challenger and champion of each draw."""
        shares = sorted({*self.challenger, *self.champion})
        return [(share, self.challenger.get(share, Counts()), self.champion.get(share, Counts())) for share in shares]


@dataclass
class Truth:
    """One figure of the challenger's and the champion's units, by share: as moments, whatever its size."""

    pairs: dict[float, Pair] = field(default_factory=dict)

    def add(self, share: float, to_challenger: bool, value: float) -> None:
        """One unit's outcome."""
        new, old = self.pairs.get(share, (Moments(), Moments()))
        one = Moments(1.0, value, value * value)
        self.pairs[share] = (new + one, old) if to_challenger else (new, old + one)

    @property
    def challenger(self) -> Moments:
        """All of the challenger's."""
        return sum((new for new, _ in self.pairs.values()), Moments())

    @property
    def champion(self) -> Moments:
        """All of the champion's."""
        return sum((old for _, old in self.pairs.values()), Moments())

    def totals(self) -> list[Totals]:
        """For outcomes from 0 to 1."""
        return [
            Totals(share, new.number, new.sum, old.number, old.sum) for share, (new, old) in sorted(self.pairs.items())
        ]

    def groups(self) -> list[Pair]:
        """For outcomes of any size."""
        return [pair for _, pair in sorted(self.pairs.items())]


class Reader:
    """Reads outcomes of one canary or test, from where it stopped; `metrics` are those it adds up."""

    def __init__(
        self,
        challenger: int,
        champion: int,
        since: float,
        after: int,
        metrics: tuple[str, ...],
        chosen: Chosen = lambda found: frozenset(),
    ) -> None:
        self._chosen = chosen
        self.truths = {metric: Truth() for metric in metrics}
        self.caught_up = False
        self._arms = {challenger: True, champion: False}
        self._since = since
        self._number = after
        self._seen: dict[str, set[int]] = {metric: set() for metric in metrics}  # hashes: there may be a million units

    def read(self, outcomes: Outcomes, model: str) -> None:
        """Add what came since; at most so much that others are not kept waiting. Raises StoreError."""
        self.caught_up = False
        for _ in range(_MOST_PAGES):
            found = outcomes.after(model, self._number, _PAGE)
            full = len(found) == _PAGE
            chosen = self._chosen(found) if found else ()
            # The last group of a full page may go on in the next one: it is read again with that.
            groups = _told_together(found)
            done = groups[:-1] if full and len(groups) > 1 else groups
            for group in done:
                self._add([one for one in group if (one.request_id, one.position) not in chosen])
            if done:
                self._number = done[-1][-1].number
            if not full:
                self.caught_up = True
                return

    def _add(self, group: list[Outcome]) -> None:
        mine = [one for one in group if one.version in self._arms and one.answered_at >= self._since]
        if not mine or mine[0].share is None:
            return
        first = mine[0]
        to_challenger = self._arms[first.version]
        share = round(first.share if to_challenger else 1.0 - first.share, 6) if first.share is not None else 0.0
        if not 0 < share < 1:
            return
        unit = hash(first.unit or first.request_id)
        for metric, truth in self.truths.items():
            values = [value for one in mine if (value := _value(one, metric)) is not None]
            if values and unit not in self._seen[metric]:
                self._seen[metric].add(unit)
                truth.add(share, to_challenger, sum(values) / len(values))


def _told_together(found: Iterable[Outcome]) -> list[list[Outcome]]:
    """Neighbours of one request that were told within a second."""
    groups: list[list[Outcome]] = []
    for one in found:
        first = groups[-1][0] if groups else None
        if first is not None and one.request_id == first.request_id and one.told_at - first.told_at <= TOGETHER_S:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _value(outcome: Outcome, metric: str) -> float | None:
    if metric == ACCURACY:
        return None if outcome.correct is None else float(outcome.correct)
    if metric == ERROR:
        return outcome.error
    found = outcome.figures.get(metric)
    return None if found is None else float(found)
