"""Which column goes into a family, as what kind of array, and through which converter.

Decided here: converters that the family was told to use come first, each for every column that can feed it; a
column without one gives every want of the first kind, in the family's order, that its type supports; else the first
converter of the catalog, of those that need no telling, that the type can feed and whose kind the family
wants; else nothing, with the reason. A converter that was named and fits no column is a refusal, not skipped.
Capabilities are asked for, no name is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from luban.catalog import CONVERTERS, Choice
from luban.features.base import Feature
from luban.features.kinds import Want
from luban.models.base import Converter, Family, Refusal
from luban.tasks.base import Head


@dataclass(frozen=True)
class PlannedInput:
    """One array of one column; `converter` is what turns it into the kind that the family wants."""

    column: str
    want: Want
    converter: Choice | None = None


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
    named: tuple[Choice, ...] = getattr(family.config, "converters", ())
    inputs: list[PlannedInput] = []
    refusals: dict[str, str] = {}
    for column, feature in columns:
        found = _named(column, feature, wants, named) or _direct(column, feature, wants)
        found = found or _converted(column, feature, wants)
        inputs += found
        if not found:
            refusals[column] = "; ".join(dict.fromkeys(filter(None, map(feature.supports, wants))))
    used = [item.converter for item in inputs]
    for choice in named:
        if choice not in used:
            return Refusal(_fits_nothing(choice, family, wants, columns))
    if not inputs:
        reasons = "; ".join(f"`{column}`: {reason}" for column, reason in refusals.items())
        return Refusal(f"no column gives what {family.kind or 'it'} reads ({reasons or 'there are no columns'})")
    return Plan(tuple(inputs), refusals)


def converter_of(choice: Choice) -> Converter:
    """The converter that a choice names, with its settings."""
    found: Converter = CONVERTERS.resolve(choice.kind)(choice.config)
    return found


def _named(column: str, feature: Feature, wants: Sequence[Want], named: Sequence[Choice]) -> list[PlannedInput]:
    """Every converter that the family was told to use and that the column's type can feed."""
    kinds = {want.kind for want in wants}
    made = [(choice, converter_of(choice)) for choice in named]
    return [
        PlannedInput(column, converter.wants(), choice)
        for choice, converter in made
        if converter.gives in kinds and feature.supports(converter.wants()) is None
    ]


def _fits_nothing(choice: Choice, family: Family, wants: Sequence[Want], columns: Sequence[tuple[str, Feature]]) -> str:
    converter = converter_of(choice)
    if converter.gives not in {want.kind for want in wants}:
        return f"the converter {choice.kind} gives {converter.gives}, which {family.kind or 'it'} does not read"
    reasons = "; ".join(f"`{column}`: {feature.supports(converter.wants())}" for column, feature in columns)
    return f"no column can feed the converter {choice.kind} ({reasons or 'there are no columns'})"


def _direct(column: str, feature: Feature, wants: Sequence[Want]) -> list[PlannedInput]:
    """Every want of the first kind that the column's type supports."""
    for kind in dict.fromkeys(want.kind for want in wants):
        found = [want for want in wants if want.kind == kind and feature.supports(want) is None]
        if found:
            return [PlannedInput(column, want) for want in found]
    return []


def _converted(column: str, feature: Feature, wants: Sequence[Want]) -> list[PlannedInput]:
    """The first converter that needs no telling, that the column's type can feed and that gives a kind the family
    wants."""
    kinds = {want.kind for want in wants}
    for name in CONVERTERS.names():
        if not CONVERTERS.resolve(name).automatic:
            continue
        converter = CONVERTERS.make(name)
        if converter.gives in kinds and feature.supports(converter.wants()) is None:
            return [PlannedInput(column, converter.wants(), Choice(name, converter.config))]
    return []
