"""What becomes of each row: kept, or set aside by which rule and why, and what it must stay together with.

Decided here: arrays by position, some 9 bytes a row once anything is dropped, so that 20 million rows fit.
Of several steps that drop a row the last one names the rule. Knows no step, no file and no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luban.prepare.base import Decision

KEPT = 0


@dataclass(frozen=True)
class Rule:
    """Why rows were set aside. `copies`: they were dropped by a set step."""

    name: str
    column: str
    reason: str
    copies: bool


class Decisions:
    """The fate of `num_rows` rows."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows
        self.rules: list[Rule] = [Rule("kept", "", "", False)]
        self.rule = np.zeros(num_rows, np.uint16)
        """[N] number of the rule in `rules` that set the row aside, KEPT for none."""
        self.other: np.ndarray | None = None
        """[N] int64 position of the row that it copies or conflicts with, -1 for none; None if nothing has one."""
        self.edges: list[tuple[np.ndarray, np.ndarray]] = []
        """Rows and others that must be in one split."""
        self.flags: dict[str, int] = {}
        """Rows flagged, by reason."""

    def _rule(self, rule: Rule) -> int:
        if rule not in self.rules:
            self.rules.append(rule)
        return self.rules.index(rule)

    def drop(self, rows: np.ndarray | Sequence[int], rule: str, column: str, reason: str) -> None:
        """Set rows aside because of themselves. Few reasons, please: what differs from row to row
        is not kept here."""
        self.rule[rows] = self._rule(Rule(rule, column, reason, False))

    def take(self, decision: Decision) -> None:
        """Carry out what a set step decided."""
        if decision.action == "group":
            self.edges.append((decision.rows, decision.others))
        elif decision.action == "flag":
            self.flags[decision.reason] = self.flags.get(decision.reason, 0) + len(decision.rows)
        else:
            if self.other is None:
                self.other = np.full(self.num_rows, -1, np.int64)
            self.rule[decision.rows] = self._rule(Rule(decision.rule, "", decision.reason, True))
            self.other[decision.rows] = decision.others

    @property
    def kept(self) -> np.ndarray:
        """Bool [N]."""
        return np.asarray(self.rule == KEPT)

    def visible(self, start: int, count: int, copies: bool) -> np.ndarray:
        """Bool [count]: rows from `start` on that a set step may see; with `copies` also dropped copies."""
        seen = np.array([number == KEPT or (copies and rule.copies) for number, rule in enumerate(self.rules)])
        return np.asarray(seen[self.rule[start : start + count]])

    def counts(self) -> dict[str, int]:
        """Rows set aside by name of the rule."""
        found: dict[str, int] = {}
        for number, count in enumerate(np.bincount(self.rule, minlength=len(self.rules)).tolist()):
            if number != KEPT and count:
                name = self.rules[number].name
                found[name] = found.get(name, 0) + count
        return found
