"""What will be done to each column: its type and role, and the row steps that its values go through.

Decided here: row steps are applied to every column but those of role meta, which are carried as they are;
each step suits itself to the column's type; steps of one kind and config are one entry, as the bundle
keeps them. Knows no step and no column type by name, but for those that `steps: auto` means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from luban.catalog import FEATURES, STEPS, Choice, Component
from luban.data.config import DataConfig
from luban.data.dataset import GROUP, ROW_ID, SPLIT
from luban.data.infer import Conclusion, conclude, reader
from luban.data.schema import Column, Schema
from luban.errors import DataError
from luban.features.base import Feature
from luban.prepare.base import RowStep, SetStep
from luban.prepare.config import PrepareConfig
from luban.prepare.spool import CHANGED, HASH

_CLEAN = ("unicode", "missing")
_JUDGE = ("duplicates",)
_JUDGE_FREE_FORM = ("duplicates", "near-duplicates", "label-conflicts")


@dataclass(frozen=True)
class RowStepUse:
    """A row step with its settings, and the columns that go through it."""

    kind: str
    config: dict[str, Any]
    columns: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The form that travels in the bundle."""
        return {"kind": self.kind, "config": self.config, "columns": list(self.columns)}


@dataclass(frozen=True)
class Plan:
    """Immutable and plain, so that it can travel to workers."""

    schema: Schema
    reasons: dict[str, str]
    """Why each column is of its type and role."""
    stated: frozenset[str]
    """Columns whose role is stated."""
    row_steps: tuple[RowStepUse, ...]
    set_steps: tuple[Choice, ...]

    @cached_property
    def features(self) -> dict[str, Feature]:
        """The type of each column."""
        return {column.name: FEATURES.make(column.type, column.settings) for column in self.schema.columns}

    def steps_of(self, name: str) -> list[tuple[str, RowStep]]:
        """The row steps of a column in order, each with its kind."""
        return [(use.kind, STEPS.make(use.kind, use.config)) for use in self.row_steps if name in use.columns]

    def demoted(self, reasons: Mapping[str, str], config: PrepareConfig) -> Plan:
        """The plan with these columns as meta, each with its reason: there is nothing to learn from them."""
        columns = [
            column.model_copy(update={"role": "meta"}) if column.name in reasons else column
            for column in self.schema.columns
        ]
        schema = Schema(columns=tuple(columns))
        return Plan(schema, {**self.reasons, **reasons}, self.stated, self.row_steps, _set_steps(schema, config))


def free_form(schema: Schema) -> tuple[str, ...]:
    """The input columns whose equal values are copies, not coincidence."""
    return tuple(c.name for c in schema.inputs if FEATURES.resolve(c.type).free_form)


def has_lists(column: Column | None) -> bool:
    """Whether a column's values are lists of labels."""
    return column is not None and bool(pa.types.is_list(FEATURES.resolve(column.type).storage))


def has_classes(column: Column | None) -> bool:
    """Whether a column's values are classes: its type gives an index."""
    return column is not None and "index" in FEATURES.resolve(column.type).encoders


def make_plan(sample: pa.Table, data: DataConfig, config: PrepareConfig) -> Plan:
    """The plan for raw rows like these. Raises ConfigError, DataError."""
    reserved = [name for name in sample.schema.names if name in (ROW_ID, GROUP, SPLIT, HASH, CHANGED)]
    if reserved:
        raise DataError(f"The column name `{reserved[0]}` is Luban's own.", "Rename that column in the data.")
    chosen = [Choice(kind, STEPS.resolve(kind).Config()) for kind in _CLEAN]
    if config.steps != "auto":
        chosen = [choice for choice in config.steps if issubclass(STEPS.resolve(choice.kind), RowStep)]
    steps = [_made(choice) for choice in chosen]
    conclusions = conclude(sample, data.columns, data.stated(), steps)
    schema = Schema(columns=tuple(conclusion.column for conclusion in conclusions))
    return Plan(
        schema,
        {conclusion.column.name: conclusion.reason for conclusion in conclusions},
        frozenset(conclusion.column.name for conclusion in conclusions if conclusion.stated),
        _row_steps(conclusions, [(choice.kind, step) for choice, step in zip(chosen, steps, strict=True)]),
        _set_steps(schema, config),
    )


def _made(choice: Choice) -> RowStep:
    step: RowStep = STEPS.resolve(choice.kind)(choice.config)
    return step


def _row_steps(conclusions: Sequence[Conclusion], steps: Sequence[tuple[str, RowStep]]) -> tuple[RowStepUse, ...]:
    uses: list[RowStepUse] = []
    for kind, step in steps:
        by_config: dict[str, tuple[dict[str, Any], list[str]]] = {}
        for conclusion in conclusions:
            column = conclusion.column
            if column.role == "meta" or (step.types is not None and column.type not in step.types):
                continue
            suited = step.suited(reader(FEATURES.make(column.type, column.settings)))
            key = suited.config.model_dump_json()
            by_config.setdefault(key, (suited.config.model_dump(mode="json"), []))[1].append(column.name)
        uses.extend(RowStepUse(kind, config, tuple(names)) for config, names in by_config.values())
    return tuple(uses)


def _set_steps(schema: Schema, config: PrepareConfig) -> tuple[Choice, ...]:
    if config.steps != "auto":
        return tuple(choice for choice in config.steps if issubclass(STEPS.resolve(choice.kind), SetStep))
    names = _JUDGE_FREE_FORM if free_form(schema) else _JUDGE
    kinds: list[tuple[str, type[Component]]] = [(name, STEPS.resolve(name)) for name in names]
    return tuple(Choice(name, kind.Config()) for name, kind in kinds)
