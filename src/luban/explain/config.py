"""Settings of the verb `explain`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import EXPLAINERS, Choice, Config
from luban.choices import OneOf, auto_or_list

Methods = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[Annotated[Choice, OneOf(EXPLAINERS)], ...], Tag("list")],
    Discriminator(auto_or_list),
]


class ExplainConfig(Config):
    """How the chosen model is explained for the report, on validation rows."""

    methods: Methods = "auto"
    """auto: which columns count (permutation), and rows by Shapley values; or a list, each a name or
    `{kind: shapley, …settings}`; [] explains nothing."""
    num_examples: int = Field(3, ge=0, le=50)
    """Rows that are explained to be read: the surest, the least sure, and some in between."""
    num_rows: int = Field(20, ge=0)
    """Rows on which it is measured how far explanations can be trusted."""
    max_rows: int = Field(500, ge=2)
    """Rows that methods which speak of the whole model look at."""
    seconds: float = Field(3.0, gt=0)
    """Time for each method; how many rows fit into it is a decision, recorded and replayed."""
