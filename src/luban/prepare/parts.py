"""The split: which rows hang together, by what name they are drawn, and to which part they go.

Decided here: `auto` splits by subject if there is one, else by group, else by time if a column was said to
be the time, else stratified by class, else at random: a stated role says that rows are not independent. A row with
several labels counts as of its rarest one. Rows that are copies of each other are drawn by the name of the first of
them. Knows no column type but through the target's classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from luban.data.rows import column_keys, numbered, words
from luban.data.schema import Schema
from luban.data.splits import TRAIN, by_time, draw, roots
from luban.errors import ConfigError, DataError
from luban.prepare.config import SplitConfig
from luban.prepare.decisions import Decisions
from luban.prepare.plan import has_classes, has_lists
from luban.prepare.spool import HASH, Spool

_TELLING: tuple[Literal["subject", "group", "time"], ...] = ("subject", "group", "time")
By = Literal["random", "stratified", "group", "subject", "time"]


@dataclass(frozen=True)
class Way:
    """How rows are dealt out: the method, the column it needs, and why it was chosen."""

    by: By
    column: str | None
    reason: str


@dataclass(frozen=True)
class Parts:
    """The split of all rows by position; what is not kept is 0 everywhere."""

    part: np.ndarray
    """[N] int8: 0 train, 1 valid, 2 test."""
    group: np.ndarray
    """[N] uint64: rows of one group are in one part."""
    way: Way
    notes: list[str] = field(default_factory=list)


def choose(schema: Schema, config: SplitConfig) -> Way:
    """The way of splitting that config and schema ask for. Raises ConfigError if a column is missing for it."""
    if config.by == "auto":
        for telling in _TELLING:
            if found := schema.of_role(telling):
                return Way(telling, found[0].name, f"auto: column `{found[0].name}` has the role {telling}")
        if has_classes(schema.target):
            return Way("stratified", None, "auto: the target has classes")
        if has_lists(schema.target):
            return Way("stratified", None, "auto: the target has labels, and rows are dealt out by their rarest one")
        return Way("random", None, "auto: no column says which rows belong together")
    if config.by == "random" or config.by == "stratified":
        if config.by == "stratified" and not (has_classes(schema.target) or has_lists(schema.target)):
            raise ConfigError(
                "`prepare.split.by` must not be stratified, because the target has no classes.", "Use random."
            )
        return Way(config.by, None, "stated")
    role: Literal["group", "subject", "time"] = config.by
    names = [column.name for column in schema.of_role(role)]
    column = config.column or (names[0] if names else None)
    if column is None:
        raise ConfigError(
            f"`prepare.split.by` is {config.by}, but no column has that role.",
            f"Name one: `data: {{{config.by}: …}}` or `prepare: {{split: {{column: …}}}}`.",
        )
    if column not in schema:
        raise ConfigError(f"`prepare.split.column` must be a column of the data, but got `{column}`.")
    if config.by == "time" and schema[column].type != "time":
        raise ConfigError(f"`{column}` must be of type time to split by it, but it is a {schema[column].type}.")
    return Way(config.by, column, "stated")


def drop_timeless(way: Way, spool: Spool, decisions: Decisions) -> None:
    """Set rows aside that cannot be placed in time, where the split is by time."""
    if way.by != "time" or way.column is None:
        return
    for start, batch in spool.scan([way.column]):
        missing = batch.column(0).is_null().to_numpy(zero_copy_only=False)
        missing &= decisions.visible(start, batch.num_rows, False)
        if missing.any():
            reason = "has no time, so it cannot be said whether it is past or future"
            decisions.drop(np.flatnonzero(missing) + start, "time-missing", way.column, reason)


def deal(
    way: Way,
    spool: Spool,
    occurrences: np.ndarray,
    decisions: Decisions,
    schema: Schema,
    config: SplitConfig,
    seed: int,
) -> Parts:
    """Deal the kept rows out."""
    names, edges = _names(way, spool, occurrences, decisions)
    root = roots(spool.num_rows, edges)
    group = names if root is None else names[root]
    kept = np.flatnonzero(decisions.kept)
    part = np.zeros(spool.num_rows, np.int8)
    if way.by == "time":
        part[kept] = _timed(way, spool, kept, root, config)
    else:
        strata = _classes(spool, schema) if way.by == "stratified" else None
        part[kept] = _drawn(names, root, kept, strata, config, seed)
    return Parts(part, group, way, _notes(part[kept], config))


def _names(
    way: Way, spool: Spool, occurrences: np.ndarray, decisions: Decisions
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """What each row is drawn by [N] uint64, and edges between rows that belong together."""
    names = np.empty(spool.num_rows, np.uint64)
    for start, batch in spool.scan([HASH]):
        end = start + batch.num_rows
        names[start:end] = words(numbered(batch.column(0), occurrences[start:end]))[:, 0]
    edges = list(decisions.edges)
    if way.by not in ("group", "subject") or way.column is None:
        return names, edges
    positions: list[np.ndarray] = []
    for start, batch in spool.scan([way.column]):
        there = np.flatnonzero(batch.column(0).is_valid().to_numpy(zero_copy_only=False))
        names[start + there] = column_keys(batch.column(0))[there]
        positions.append(start + there)
    rows = np.concatenate(positions)
    _, first, inverse = np.unique(names[rows], return_index=True, return_inverse=True)
    edges.append((rows, rows[first[inverse]]))
    return names, edges


def _drawn(
    names: np.ndarray,
    root: np.ndarray | None,
    kept: np.ndarray,
    strata: np.ndarray | None,
    config: SplitConfig,
    seed: int,
) -> np.ndarray:
    """Parts [M] of the kept rows, drawn by unit."""
    if root is None:
        classes = np.zeros(len(kept), np.int32) if strata is None else strata[kept]
        return draw(names[kept], np.ones(len(kept), np.int32), classes, config.valid, config.test, seed)
    tops = root[kept]
    sizes = np.bincount(tops, minlength=len(names))
    units = np.flatnonzero(sizes)
    number = np.zeros(len(names), np.int64)
    number[units] = np.arange(len(units))
    unit_of = number[tops]
    classes = np.zeros(len(units), np.int32)
    if strata is not None:
        classes[unit_of[::-1]] = strata[kept[::-1]]  # the class of a unit is that of its first kept row
    parts = draw(names[units], sizes[units], classes, config.valid, config.test, seed)
    return np.asarray(parts[unit_of])


def _classes(spool: Spool, schema: Schema) -> np.ndarray:
    """Class numbers [N] int32 in order of appearance; 0 also for rows without a target, which are not kept."""
    assert schema.target is not None
    if has_lists(schema.target):
        return _rarest(spool, schema.target.name)
    codes = np.zeros(spool.num_rows, np.int32)
    known: dict[object, int] = {}
    for start, batch in spool.scan([schema.target.name]):
        encoded = batch.column(0).dictionary_encode()
        table = np.array([known.setdefault(v, len(known)) for v in encoded.dictionary.to_pylist()] or [0], np.int32)
        indices = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        codes[start : start + batch.num_rows] = table[indices]
    return codes


def _rarest(spool: Spool, target: str) -> np.ndarray:
    """The number [N] int32 of each row's rarest label, the most frequent label first, from 1; 0 without labels."""
    counts: Counter[str] = Counter()
    for _, batch in spool.scan([target]):
        counts.update(label for value in batch.column(0).to_pylist() for label in value or ())
    ranks = {
        label: rank for rank, (label, _) in enumerate(sorted(counts.items(), key=lambda one: (-one[1], one[0])), 1)
    }
    codes = np.zeros(spool.num_rows, np.int32)
    for start, batch in spool.scan([target]):
        for row, value in enumerate(batch.column(0).to_pylist(), start):
            codes[row] = max((ranks[label] for label in value or ()), default=0)
    return codes


def _timed(way: Way, spool: Spool, kept: np.ndarray, root: np.ndarray | None, config: SplitConfig) -> np.ndarray:
    """Parts [M] of the kept rows by their time."""
    instants = np.zeros(spool.num_rows, np.int64)
    for start, batch in spool.scan([way.column or ""]):
        values = pc.fill_null(batch.column(0).view(pa.int64()), 0)
        instants[start : start + batch.num_rows] = values.to_numpy(zero_copy_only=False)
    compact: np.ndarray | None = None
    if root is not None:
        _, compact = np.unique(root[kept], return_inverse=True)
    try:
        return by_time(instants[kept], config.valid, config.test, compact)
    except ValueError as error:
        raise DataError(f"The split by time `{way.column}` fails: {error}.", "Split another way.") from error


def _notes(part: np.ndarray, config: SplitConfig) -> list[str]:
    shares: Sequence[tuple[str, float, int]] = (("validation", config.valid, 1), ("test", config.test, 2))
    notes = [f"no row for {name}: too few rows" for name, share, code in shares if share and not (part == code).any()]
    if len(part) and not (part == TRAIN).any():
        raise DataError("The split leaves no row for training.", "Lower `prepare.split.valid` and `test`.")
    return notes
