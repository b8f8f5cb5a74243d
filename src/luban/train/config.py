"""Settings of the verb `train`."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from luban.catalog import FAMILIES, Choice, Config, execution
from luban.choices import OneOf, auto_or_list

AUTO = "auto"


def _auto_or_named(value: Any) -> str:
    return "auto" if value == AUTO else "named"


Entry = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[Choice, OneOf(FAMILIES), Tag("named")],
    Discriminator(_auto_or_named),
]
Models = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[Entry, ...], Tag("list")], Discriminator(auto_or_list)
]


class FoldsConfig(Config):
    """Folds in place of one validation split."""

    num: int = Field(5, ge=2, le=100)
    """Folds; fewer where fewer rows are independent of each other."""
    final: Literal["refit", "bag"] = "refit"
    """refit: the chosen model is fitted again on all rows, with the median of what the folds decided. bag: the mean
    of the folds' models; as many times the size and the time of an answer."""


class Imbalance(Config):
    """What is done about rare classes."""

    kind: Literal["none", "weights", "oversample", "undersample", "logit-adjustment"] = "none"
    """weights: rows of rarer classes weigh more. oversample, undersample: they are drawn again, or rows of the others
    left out. logit-adjustment: training stays as it is, answers favour rarer classes. All but none answer for
    balanced accuracy."""
    strength: float = Field(1.0, gt=0, le=2)
    """1: as if all classes were equally frequent; less: part of the way."""
    max_ratio: float = Field(100.0, ge=1)
    """A row counts at most so many times another."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value


class TrainConfig(Config):
    """What is tried, and how much of it."""

    models: Models = "auto"
    """auto: every family and its variants, best expected first, then a vote; or a list of families,
    each a name or `{kind: linear, …settings}`, all of which are trained; `auto` in a list stands for all that it
    would try alone, so that `[{kind: linear, …}, auto]` tries one model more."""
    time_budget_s: float = Field(120.0, gt=0)
    """No candidate is started once this is spent; those already started are finished."""
    max_candidates: int | None = Field(None, ge=1)
    """No more candidates than this, votes apart; the same on every machine, unlike seconds."""
    refit: bool = True
    """Fit the chosen model again on training and validation rows, with what validation decided (weights of
    a vote, rounds of trees, calibration) kept; about as long again as it took, beyond `time_budget_s`."""
    folds: FoldsConfig | None = None
    """Judge every candidate by folds over training and validation rows together, in place of the one validation
    split; each candidate then costs as many fits as there are folds."""
    imbalance: Imbalance = Field(default_factory=Imbalance)
    """Rare classes: none, weights, oversample, undersample or logit-adjustment, alone or as `kind` with settings."""
    learning_curve: Literal["auto"] | bool = "auto"
    """Train the chosen model again on 1/8, 1/4 and 1/2 of the training rows, to see whether more rows would help.
    auto: if what is left of `time_budget_s` suffices."""
    seeds: int = Field(1, ge=1, le=20)
    """Train the chosen model under so many seeds, to see how far chance decides; beyond `time_budget_s`."""
    num_threads: int | None = execution(None, ge=1)
    """Threads of each solver; all cores by default."""

    @model_validator(mode="after")
    def _refits(self) -> TrainConfig:
        if self.folds is not None and self.folds.final == "refit" and not self.refit:
            raise ValueError("`folds.final` must be bag where `refit` is false, but it is refit")
        return self

    @property
    def threads(self) -> int:
        """Threads to use on this machine."""
        return self.num_threads or len(os.sched_getaffinity(0))
