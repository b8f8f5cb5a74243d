"""Settings of the verb `evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import Config
from luban.choices import auto_or_list

Columns = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[str, ...], Tag("list")], Discriminator(auto_or_list)
]


class CostsConfig(Config):
    """What a right and a wrong answer are worth. Classes are written as they stand in the data."""

    currency: str = "CNY"
    """Name of the money."""
    per_error: dict[str, float] = Field(default_factory=dict)
    """Money lost by an error, as `truth->answer`; `*` stands for any class, and what is not named costs
    nothing."""
    per_right: dict[str, float] = Field(default_factory=dict)
    """Money earned by a right answer, by class; `*` stands for any."""
    review: float | None = Field(None, ge=0)
    """Money that it costs to ask a person instead of answering; left out, nobody can be asked."""


class EvaluateConfig(Config):
    """How a model is measured on test rows."""

    num_resamples: int = Field(1000, ge=100, le=100_000)
    """Bootstrap resamples that intervals stand on."""
    level: float = Field(0.95, gt=0.5, lt=1.0)
    """Level of the intervals."""
    slices: Columns = "auto"
    """Columns by which test rows are cut into slices: auto for all inputs, times and columns carried along
    that are no telephone numbers or the like; or a list, which may name any column; an empty list for none."""
    slice_rows: int = Field(30, ge=1)
    """A slice needs as many test rows."""
    worst: int = Field(20, ge=0, le=1000)
    """Errors to read, and as many suspected labels, written with their rows into a file of their own; 0 for none."""
    robustness_rows: int = Field(500, ge=0, le=100_000)
    """Test rows that are answered again as they might come written otherwise; 0 for none."""
    costs: CostsConfig | None = None
    """What errors and right answers are worth; left out, no money is counted."""
