"""Settings of the verb `evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import Config, auto_or_list

Columns = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[str, ...], Tag("list")], Discriminator(auto_or_list)
]


class EvaluateConfig(Config):
    """How a model is measured on test rows."""

    num_resamples: int = Field(1000, ge=100, le=100_000)
    """Bootstrap resamples that intervals stand on."""
    level: float = Field(0.95, gt=0.5, lt=1.0)
    """Level of the intervals."""
    slices: Columns = "auto"
    """Columns by which test rows are cut into slices: auto for all inputs, times and columns carried along; or
    a list, which may name any column; an empty list for none."""
    slice_rows: int = Field(30, ge=1)
    """A slice needs as many test rows."""
