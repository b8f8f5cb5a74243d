"""The `prepare` section of a project file: steps, split, and how much may be unreadable.

Decided here: `steps: auto` cleans values and judges exact copies; near copies and labels in conflict
are looked for only where a column is free-form (a review, not a shoe size), because elsewhere equal
rows are coincidence. Does not know any step.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from luban.catalog import STEPS, Choice, Config, execution
from luban.choices import OneOf, auto_or_list

Steps = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[Annotated[Choice, OneOf(STEPS)], ...], Tag("list")],
    Discriminator(auto_or_list),
]


class SplitConfig(Config):
    """How rows are dealt out to training, validation and test."""

    by: Literal["auto", "random", "stratified", "group", "subject", "time"] = "auto"
    """random: by a hash of the row. stratified: random, with quotas for classes too small for it. group,
    subject: all rows of one value go together. time: the latest are the test. auto: subject, group or
    time if a column has that role, else stratified for classes, else random."""
    valid: float = Field(0.1, ge=0, lt=1)
    """Share of rows for validation."""
    test: float = Field(0.2, ge=0, lt=1)
    """Share of rows for the test."""
    column: str | None = None
    """The column to split by, for group, subject and time; else the one that has that role."""

    @model_validator(mode="after")
    def _leaves_some(self) -> SplitConfig:
        if self.valid + self.test >= 1:
            raise ValueError(f"`valid` and `test` must leave rows for training, but they are {self.valid + self.test}")
        if self.column is not None and self.by not in ("group", "subject", "time"):
            raise ValueError(f"`column` is for group, subject and time, but `by` is {self.by}")
        return self


class PrepareConfig(Config):
    """From raw rows to a dataset."""

    steps: Steps = "auto"
    """auto, or prepare steps in order: names, or `kind` with settings."""
    split: SplitConfig = SplitConfig()
    """How rows are dealt out."""
    max_bad_share: float = Field(0.2, ge=0, le=1)
    """If more than this share of a column's values cannot be read as its type, the type is wrong."""
    sample_rows: int = Field(10_000, ge=10)
    """Rows from which types and roles are inferred."""
    num_workers: int = execution(1, ge=1)
    """Processes that clean and parse."""
