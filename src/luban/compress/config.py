"""Settings of the verb `compress`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from luban.catalog import COMPRESSORS, Choice, Config
from luban.choices import OneOf, auto_or_list

Methods = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[tuple[Annotated[Choice, OneOf(COMPRESSORS)], ...], Tag("list")],
    Discriminator(auto_or_list),
]


class CompressConfig(Config):
    """Which ways to make the bundle smaller and faster are tried; one is kept only where it pays."""

    methods: Methods = "auto"
    """auto: every method that suits the model's graph; or a list, each a name or `{kind: int8, …settings}`;
    [] tries none."""
    calibration_rows: int = Field(512, ge=1)
    """Training rows that ranges of activations are taken from, evenly spread."""
    min_gain: float = Field(0.1, gt=0, lt=1)
    """A compressed model counts as faster if it takes at least this share less time, for one row or for
    many, with the whole interval of the measurement."""
