"""The schema of a dataset: columns with a type, a role and settings.

A *type* (text, category, number, time, …) names an entry of the column-type catalog. A *role* says
what a column is for. Decided here: column order is the order in the source; names are unique and
kept as they are. This module does not know what any type means.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from luban.catalog import Config, fingerprint
from luban.errors import DataError

Role = Literal["input", "target", "id", "subject", "group", "weight", "time", "meta"]


class Column(Config):
    """One column of a dataset."""

    name: str = Field(min_length=1)
    """Name as it stands in the source."""
    type: str
    """Name of a column type: text, category, number, time, tags, image or a plug-in's."""
    role: Role = "input"
    """input: learnt from. target: predicted. id: names the row. subject: the person it is about.
    group: rows that belong together. weight: how much a row counts. time: when it was so. meta:
    carried along, never learnt from."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the column type, validated by its own Config."""


class Schema(Config):
    """All columns of a dataset, in order."""

    columns: tuple[Column, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Schema:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column names must be unique, but these stand twice: {', '.join(twice)}")
        return self

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"There is no column `{name}`.", f"Columns: {', '.join(c.name for c in self.columns)}.")

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

    def of_role(self, *roles: Role) -> tuple[Column, ...]:
        """The columns that have one of these roles, in order."""
        return tuple(column for column in self.columns if column.role in roles)

    @property
    def inputs(self) -> tuple[Column, ...]:
        """The columns that a model learns from."""
        return self.of_role("input")

    @property
    def target(self) -> Column | None:
        """The column that is predicted, or None."""
        found = self.of_role("target")
        return found[0] if found else None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the schema."""
        return fingerprint(self.identity())
