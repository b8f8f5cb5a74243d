"""Which column goes into a family, as what kind of array, and through which converter.

Decided here: a column gives every want of the first kind, in the family's order, that its type
supports; else the first converter of the catalog that the type can feed and whose kind the family
wants; else nothing, with the reason. Capabilities are asked for, no name is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from luban.catalog import CONVERTERS
from luban.features.base import Feature
from luban.features.kinds import Want
from luban.models.base import Family, Refusal
from luban.tasks.base import Head


@dataclass(frozen=True)
class PlannedInput:
    """One array of one column; `converter` names what turns it into the kind that the family wants."""

    column: str
    want: Want
    converter: str | None = None


@dataclass(frozen=True)
class Plan:
    """All inputs of a family, by column in the given order, and why other columns give none."""

    inputs: tuple[PlannedInput, ...]
    refusals: Mapping[str, str]


def plan(family: Family, columns: Sequence[tuple[str, Feature]], head: Head) -> Plan | Refusal:
    """What `family` reads of these columns, or a Refusal where it cannot learn the head or reads nothing."""
    wants = family.wants(head)
    if isinstance(wants, Refusal):
        return wants
    inputs: list[PlannedInput] = []
    refusals: dict[str, str] = {}
    for column, feature in columns:
        found = _direct(column, feature, wants) or _converted(column, feature, wants)
        inputs += found
        if not found:
            refusals[column] = "; ".join(dict.fromkeys(filter(None, map(feature.supports, wants))))
    if not inputs:
        reasons = "; ".join(f"`{column}`: {reason}" for column, reason in refusals.items())
        return Refusal(f"no column gives what {family.kind or 'it'} reads ({reasons or 'there are no columns'})")
    return Plan(tuple(inputs), refusals)


def _direct(column: str, feature: Feature, wants: Sequence[Want]) -> list[PlannedInput]:
    """Every want of the first kind that the column's type supports."""
    for kind in dict.fromkeys(want.kind for want in wants):
        found = [want for want in wants if want.kind == kind and feature.supports(want) is None]
        if found:
            return [PlannedInput(column, want) for want in found]
    return []


def _converted(column: str, feature: Feature, wants: Sequence[Want]) -> list[PlannedInput]:
    """The first converter that the column's type can feed and that gives a kind the family wants."""
    kinds = {want.kind for want in wants}
    for name in CONVERTERS.names():
        converter = CONVERTERS.make(name)
        if converter.gives in kinds and feature.supports(converter.wants()) is None:
            return [PlannedInput(column, converter.wants(), name)]
    return []
