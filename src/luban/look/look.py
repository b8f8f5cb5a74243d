"""A look at a source: what its columns are, what is wrong, what could be predicted.

Decided here: what is read is the beginning, at most 64 MB; copies and classes are counted in all of that, the rest in
rows spread evenly over it. A target that nobody named is taken only where it is likely enough (`targets.TAKEN`).
Columns that are personal data or tell the target are proposed as `meta`: carried along, not learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from luban.catalog import FEATURES, STEPS
from luban.data.infer import Conclusion, Head, cleaned, conclude, head
from luban.data.schema import Column
from luban.data.sources.base import Source
from luban.look import columns as single
from luban.look import copies, targets
from luban.look.finding import Finding
from luban.look.leaks import leaks

ROWS = 10_000
"""Rows that are judged by."""


@dataclass(frozen=True)
class Seen:
    """What was seen. `target`: named, or likely enough; `why`: codes of the reasons, empty where it was named."""

    rows: int
    complete: bool
    conclusions: tuple[Conclusion, ...]
    findings: tuple[Finding, ...]
    target: str | None
    why: tuple[Finding, ...] = ()
    others: tuple[targets.Candidate, ...] = ()
    """Further candidates, likeliest first."""
    apart: dict[str, Finding] = field(default_factory=dict)
    """Columns that are proposed not to be learnt from, and why."""


def look(source: Source, target: str | None = None) -> Seen:
    """Look at a source. Raises ConfigError if `target` is not among its columns, DataError where it cannot be read."""
    first = head(source.read(), ROWS)
    sample, steps = first.sample, [STEPS.make("unicode"), STEPS.make("missing")]
    conclusions = conclude(sample, {}, {target: "target"} if target else {}, steps)
    texts = {name: single.texts_of(cleaned(sample, name, steps)) for name in sample.schema.names}
    found, personal = _columns(sample, conclusions, texts)
    ranked = [] if target else targets.candidates(texts, conclusions, set(personal))
    why: tuple[Finding, ...] = ()
    if ranked and ranked[0].score >= targets.TAKEN:
        target, why, ranked = ranked[0].name, ranked[0].reasons, ranked[1:]
        conclusions = conclude(sample, {}, {target: "target"}, steps)
    apart = dict(personal)
    if target is not None:
        apart.pop(target, None)
        suspects = list(_about_target(first, conclusions, target, apart))
        found += suspects
        apart |= {one.column: one for one in suspects if one.code == "leak"}
    found = [*_copies(first, conclusions), *found]
    rows = sum(batch.rows.num_rows for batch in first.batches)
    order = sorted(found, key=lambda one: one.level != "warn")
    return Seen(rows, first.complete, tuple(conclusions), tuple(order), target, why, tuple(ranked), apart)


def _columns(
    sample: pa.Table, conclusions: list[Conclusion], texts: dict[str, list[str]]
) -> tuple[list[Finding], dict[str, Finding]]:
    """What single columns show, and those that are personal data."""
    found: list[Finding] = []
    personal: dict[str, Finding] = {}
    for conclusion in conclusions:
        name, present = conclusion.column.name, texts[conclusion.column.name]
        found += single.holes(name, len(present), sample.num_rows)
        found += single.constant(name, present)
        kind, said = single.personal(name, present)
        found += said
        if kind is not None:
            personal[name] = next(one for one in said if one.code == "is-personal" and one.figures["kind"] == kind)
        if conclusion.column.role == "id":
            found.append(Finding("id", "note", name, {"why": conclusion.reason}))
        if _free(conclusion.column):
            found += single.languages(name, present)
    return found, personal


def _free(column: Column) -> bool:
    return column.role == "input" and bool(FEATURES.resolve(column.type).free_form)


def _whole(first: Head) -> pa.Table:
    return pa.Table.from_batches([batch.rows for batch in first.batches])


def _copies(first: Head, conclusions: list[Conclusion]) -> Iterator[Finding]:
    yield from copies.exact(_whole(first))
    yield from copies.near(first.sample, [c.column.name for c in conclusions if _free(c.column)])


def _about_target(
    first: Head, conclusions: list[Conclusion], target: str, apart: dict[str, Finding]
) -> Iterator[Finding]:
    """Classes and their rows, conflicts, and columns that tell the target."""
    whole = _whole(first)
    values = whole.column(target).drop_null().to_pylist()
    column = next(c.column for c in conclusions if c.column.name == target)
    if pa.types.is_list(FEATURES.resolve(column.type).storage):
        feature = FEATURES.make(column.type, column.settings)
        yield from targets.labels(target, feature.parse(pa.array(values)).values.to_pylist(), whole.num_rows)
    else:
        yield from targets.classes(target, single.texts_of(values), whole.num_rows)
    inputs = [c.column.name for c in conclusions if c.column.role == "input" and c.column.name not in apart]
    if any(_free(c.column) for c in conclusions):
        yield from copies.conflicts(whole, inputs, target)
    steps = [STEPS.make("unicode"), STEPS.make("missing")]
    aligned = {}
    for name in first.sample.schema.names:
        column = first.sample.column(name).combine_chunks()
        for step in steps:
            column, _ = step.apply(column)
        aligned[name] = column.to_pylist()
    yield from leaks(aligned, [replace(c) for c in conclusions if c.column.name not in apart], target)
