"""Settings of tuning: the section `tune` of a project file."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from luban.catalog import FAMILIES, Choice, Config
from luban.choices import OneOf
from luban.train.tune.space import Bounds, Range, Scalar, ranges


class TuneConfig(Config):
    """Which settings of one family are searched, how, and for how long."""

    family: Annotated[Choice, OneOf(FAMILIES)]
    """The family whose settings are searched: a name, or `{kind: trees, …settings}`; what is stated stays fixed."""
    trials: int = Field(30, ge=1, le=1000)
    """Sets of settings that are tried, at most. The first is the family's settings as they are stated."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """tpe: where good trials lie more densely than bad ones (Bergstra et al. 2011); random: evenly; grid: all
    combinations of choices and of `grid_points` values of each range, in an order drawn from the seed."""
    grid_points: int = Field(4, ge=2, le=100)
    """grid: values of each range, its ends among them."""
    pruner: Literal["auto", "halving", "none"] = "auto"
    """halving: a trial is trained on a ninth, then a third of the training rows, and goes on where its loss is
    in the best third of those so far (Li et al. 2020); none: all rows at once; auto: halving where, by the time of
    the first trial, the others do not fit into `time_budget_s`."""
    time_budget_s: float = Field(300.0, gt=0)
    """No trial is started once this is spent, beside `train.time_budget_s`."""
    voters: int = Field(3, ge=0)
    """The best trials that may join a vote."""
    space: dict[str, Literal["auto"] | tuple[Scalar, ...] | Bounds] = Field({}, validate_default=True)
    """Setting to `[low, high]`, a list of values, `{low, high, log}` or `auto`; without any, every searchable
    setting that is not stated in `family`, within the bounds that its table shows."""

    @field_validator("space")
    @classmethod
    def _can_be_searched(cls, space: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "family" in info.data:  # else that is the error
            ranges(info.data["family"], space)
        return space

    @cached_property
    def ranges(self) -> tuple[Range, ...]:
        """Where each field is searched."""
        return ranges(self.family, self.space)
