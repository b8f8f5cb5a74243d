"""Settings of the verb `train`."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import FAMILIES, Choice, Config, OneOf, auto_or_list, execution

Models = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[Annotated[Choice, OneOf(FAMILIES)], ...], Tag("list")],
    Discriminator(auto_or_list),
]


class TrainConfig(Config):
    """What is tried, and how much of it."""

    models: Models = "auto"
    """auto: every family and its variants, best expected first, then a vote; or a list of families,
    each a name or `{kind: linear, …settings}`, all of which are trained."""
    time_budget_s: float = Field(120.0, gt=0)
    """No candidate is started once this is spent; those already started are finished."""
    max_candidates: int | None = Field(None, ge=1)
    """No more candidates than this, votes apart; the same on every machine, unlike seconds."""
    refit: bool = True
    """Fit the chosen model again on training and validation rows, with what validation decided (weights of
    a vote, rounds of trees, calibration) kept; about as long again as it took, beyond `time_budget_s`."""
    num_threads: int | None = execution(None, ge=1)
    """Threads of each solver; all cores by default."""

    @property
    def threads(self) -> int:
        """Threads to use on this machine."""
        return self.num_threads or len(os.sched_getaffinity(0))
