"""Shapley values over the parts of a row: what each adds, averaged over all orders in which parts could come.

Exact over all coalitions for few parts, else from a design of coalitions (`coalitions.py`), all asked of the bundle in
bulk; shares and base sum to the output. A row with many parts is read from coarse to fine: runs of neighbouring parts
are players, those that matter are cut in two, until `max_players` are there; the values are then those of that last
game, in which what was not cut stays together. The base is a row in which nothing is known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from luban.explain.attribution import Attribution
from luban.explain.base import Case, Explainer, Finding, Unexplained
from luban.explain.coalitions import MOST_PLAYERS, Design, design
from luban.explain.players import open_up, runs
from luban.explain.question import Question


class Shapley(Explainer):
    """Shapley values: shares that sum to the output, exact for few parts."""

    attributes = True
    additive = True

    class Config(Explainer.Config):
        """How much is asked."""

        exact_parts: int = Field(12, ge=1, le=16)
        """Up to so many parts all coalitions are asked: 2 to the power of this."""
        coalitions: int = Field(1024, ge=16, le=4096)
        """Coalitions that are asked where there are more parts."""
        max_players: int = Field(32, ge=2, le=MOST_PLAYERS)
        """Parts, or runs of parts, that are told apart in one row."""

    def explain(self, case: Case) -> Sequence[Finding]:
        """An attribution a row."""
        return [q if isinstance(q, Unexplained) else self._one(q, case.seed) for q in case.questions(self.kind)]

    def _one(self, question: Question, seed: int) -> Attribution:
        players = self._players(question, seed)
        if not players:
            return Attribution.of(question, self.kind, (), np.zeros(0), True)
        found = self._design(len(players), self.config.coalitions, seed)
        shares = found.shares(question.ask_groups(found.coalitions, players))
        return Attribution.of(question, self.kind, players, shares.values, True, shares.std_error)

    def _players(self, question: Question, seed: int) -> list[np.ndarray]:
        """The players of the last game: the parts, or runs of which those that matter were cut."""
        most = max(self.config.max_players, len(question.groups))
        most = min(most, MOST_PLAYERS)
        if len(question.parts) <= max(most, self.config.exact_parts):
            return runs(question, len(question.parts))
        players = runs(question, max(most // 4, 2))
        while True:
            found = self._design(len(players), max(self.config.coalitions // 8, 16), seed)
            shares = found.shares(question.ask_groups(found.coalitions, players))
            opened = open_up(players, shares.values, most)
            if opened is None:
                return players
            players = opened

    def _design(self, players: int, coalitions: int, seed: int) -> Design:
        exact = players <= self.config.exact_parts and 2**players <= max(coalitions, 2**self.config.exact_parts)
        return design(players, 2**players if exact else coalitions, seed)
