"""Occlusion: what the output loses when one part is taken away (Zeiler and Fergus 2014).

One row of the bundle a part: the cheapest method, and blind to parts that stand in for one another; so its shares
do not sum to the output. Parts beyond `max_parts` are taken away in runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from luban.explain.attribution import Attribution
from luban.explain.base import Case, Explainer, Finding, Unexplained
from luban.explain.players import runs
from luban.explain.question import Question


class Occlusion(Explainer):
    """The difference that taking one part away makes."""

    attributes = True

    class Config(Explainer.Config):
        """How much is asked."""

        max_parts: int = Field(512, ge=1)
        """Parts that are judged one by one; in a row that has more, neighbours go together."""

    def explain(self, case: Case) -> Sequence[Finding]:
        """An attribution a row."""
        return [q if isinstance(q, Unexplained) else self._one(q) for q in case.questions(self.kind)]

    def _one(self, question: Question) -> Attribution:
        groups = runs(question, self.config.max_parts)
        kept = ~np.eye(len(groups), dtype=bool)
        values = question.output - question.ask_groups(kept, groups) if groups else np.zeros(0)
        return Attribution.of(question, self.kind, groups, values, additive=False)
