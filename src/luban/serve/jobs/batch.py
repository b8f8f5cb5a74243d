"""Answers for a whole file: one row in, one row out, in order, streaming.

The output has all columns of the input, then the answer columns, then `error`. An answer column (or
`error`) whose name the input already has gets the suffix `_predicted`. What the source could not read
as a row comes out as a row at its place with nothing but an `error`; where the source does not know its
place, it comes at the end of the batch it was found in. An input column that the file does not have is a
missing value, and is named in the counts; a file without any input column is refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from luban.catalog import nearest
from luban.data.sinks.base import Sink
from luban.data.sources.base import RawBatch, Reject, Source
from luban.data.table import Table
from luban.errors import DataError
from luban.tasks.base import TaskOptions

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

    Progress = Callable[["Counts"], None]

ERROR = "error"
SUFFIX = "_predicted"
_ARROW = {
    "string": pa.string(),
    "number": pa.float64(),
    "array": pa.list_(pa.string()),
    "boolean": pa.bool_(),
    "whole": pa.int64(),
}


@dataclass(frozen=True)
class Counts:
    """What was answered, and what should be said about the file's columns.

    `renamed` maps answer columns to the names they got; `missing` are input columns that the file
    does not have; `unread` are its columns that the bundle's schema does not know.
    """

    num_rows: int = 0
    num_errors: int = 0
    renamed: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class Answerer(Protocol):
    """Whoever answers rows. `columns` are those of its answers, by kind: string, number, whole, boolean or array."""

    @property
    def inputs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def known(self) -> Collection[str]: ...  # noqa: D102
    @property
    def columns(self) -> Mapping[str, str]: ...  # noqa: D102

    def answer(self, rows: pa.RecordBatch, inputs: Sequence[str]) -> Table:
        """One answer a row; `inputs` are those of the columns that decide it and are there, `rows` has all."""


@dataclass(frozen=True)
class BundleAnswerer:
    """A bundle that is asked directly."""

    bundle: Bundle
    options: TaskOptions | None = None

    @property
    def inputs(self) -> Sequence[str]:
        """Columns that decide an answer."""
        return [column.name for column in self.bundle.schema.inputs]

    @property
    def known(self) -> Collection[str]:
        """Columns of the schema."""
        return [column.name for column in self.bundle.schema.columns]

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of its answers."""
        return self.bundle.columns

    def answer(self, rows: pa.RecordBatch, inputs: Sequence[str]) -> Table:
        """See Answerer."""
        return self.bundle.predict(rows.select(inputs), self.options)


def predict_file(
    bundle: Bundle,
    source: Source,
    sink: Sink,
    path: str,
    options: TaskOptions | None = None,
    batch_rows: int = 1024,
    progress: Progress = lambda counts: None,
) -> Counts:
    """Answer every row of `source` by a bundle; see `answer_file`."""
    return answer_file(BundleAnswerer(bundle, options), source, sink, path, batch_rows, progress)


def answer_file(
    answerer: Answerer,
    source: Source,
    sink: Sink,
    path: str,
    batch_rows: int = 1024,
    progress: Progress = lambda counts: None,
) -> Counts:
    """Answer every row of `source` into `path`; memory holds a few batches.

    `progress` is called after each batch. Raises DataError where the file cannot be read or has no input
    column; then nothing is left at `path`.
    """
    batches = source.read(batch_rows)
    first = next(batches, None)
    if first is None:
        raise DataError("The file has no row.", "Give a file with a header and at least one row.")
    answering = _Answering(answerer, first.rows.schema)
    merged = _Merged(answering.rejected)
    counts = answering.counts
    with sink:
        sink.open(path, answering.schema)
        for batch in _chain(first, batches):
            rows = answering.answered(batch.rows)
            counts = _write(sink, merged.add(rows, batch.rejects), counts, answering.schema)
            progress(counts)
        counts = _write(sink, merged.rest(), counts, answering.schema)
        progress(counts)
    return counts


def _chain(first: RawBatch, rest: Iterator[RawBatch]) -> Iterator[RawBatch]:
    yield first
    yield from rest


def _write(sink: Sink, pieces: Iterable[pa.RecordBatch], counts: Counts, schema: pa.Schema) -> Counts:
    """Write pieces as one batch, and count its rows and errors."""
    table = pa.Table.from_batches(pieces, schema).combine_chunks()
    for batch in table.to_batches():
        sink.write(batch)
    num_errors = table.num_rows - table.column(-1).null_count
    return replace(counts, num_rows=counts.num_rows + table.num_rows, num_errors=counts.num_errors + num_errors)


class _Merged:
    """Puts rejects between rows, each at its place in the source."""

    def __init__(self, rejected: Callable[[list[Reject]], pa.RecordBatch]) -> None:
        self._rejected = rejected
        self._emitted = 0
        self._waiting: list[tuple[int, int, Reject]] = []
        self._seen = 0

    def add(self, rows: pa.RecordBatch, rejects: Iterable[Reject]) -> Iterator[pa.RecordBatch]:
        """The rows, cut where a reject stands; rejects of no known place come last."""
        placeless: list[Reject] = []
        for reject in rejects:
            self._seen += 1
            if reject.position is None:
                placeless.append(reject)
            else:
                heapq.heappush(self._waiting, (reject.position, self._seen, reject))
        start = 0
        while start < rows.num_rows:
            # A reject may be told before the rows that stand before it, so it waits for them.
            yield from self._due()
            gap = self._waiting[0][0] - self._emitted if self._waiting else rows.num_rows
            piece = rows.slice(start, gap)
            start += piece.num_rows
            self._emitted += piece.num_rows
            yield piece
        yield from self._due()
        if placeless:
            yield self._told(placeless)

    def rest(self) -> Iterator[pa.RecordBatch]:
        """The rejects that stand after the last row."""
        if self._waiting:
            yield self._told([reject for _, _, reject in sorted(self._waiting)])
            self._waiting = []

    def _due(self) -> Iterator[pa.RecordBatch]:
        due: list[Reject] = []
        while self._waiting and self._waiting[0][0] <= self._emitted + len(due):
            due.append(heapq.heappop(self._waiting)[2])
        if due:
            yield self._told(due)

    def _told(self, rejects: list[Reject]) -> pa.RecordBatch:
        self._emitted += len(rejects)
        return self._rejected(rejects)


class _Answering:
    """Rows of one file's schema to rows of the output's."""

    def __init__(self, answerer: Answerer, rows: pa.Schema) -> None:
        self._answerer = answerer
        self._columns = dict(answerer.columns)
        inputs, known = list(answerer.inputs), set(answerer.known)
        self._inputs = [name for name in inputs if name in rows.names]
        if not self._inputs:
            raise _no_input(inputs, rows.names)
        self._names = _free_names([*self._columns, ERROR], rows.names)
        kinds = [*(_ARROW[kind] for kind in self._columns.values()), pa.string()]
        added = [pa.field(name, kind) for name, kind in zip(self._names.values(), kinds, strict=True)]
        self.schema: pa.Schema = pa.schema([*rows, *added])
        self.counts = Counts(
            renamed={name: new for name, new in self._names.items() if name != new},
            missing=tuple(name for name in inputs if name not in rows.names),
            unread=tuple(name for name in rows.names if name not in known),
        )

    def answered(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with their answers."""
        if not rows.num_rows:
            return self.rejected([])
        table = self._answerer.answer(rows, self._inputs)
        errors = pa.array(table.errors, pa.string())
        arrays = [*rows.columns]
        for name in self._columns:
            values = pa.array(table.columns[name], self.schema.field(self._names[name]).type)
            # A row with an error has no answer, whatever stands in its place.
            arrays.append(pc.if_else(errors.is_null(), values, None) if errors.null_count < len(errors) else values)
        return pa.RecordBatch.from_arrays([*arrays, errors], schema=self.schema)

    def rejected(self, rejects: list[Reject]) -> pa.RecordBatch:
        """A row with nothing but an error for each reject."""
        empty = [pa.nulls(len(rejects), one.type) for one in list(self.schema)[:-1]]
        reasons = pa.array([f"{reject.where}: {reject.reason}" for reject in rejects], pa.string())
        return pa.RecordBatch.from_arrays([*empty, reasons], schema=self.schema)


def _free_names(names: list[str], taken: list[str]) -> dict[str, str]:
    """Each name as it is, or with the suffix until nobody else has it."""
    used, found = set(taken), {}
    for name in names:
        free = name
        while free in used:
            free += SUFFIX
        used.add(free)
        found[name] = free
    return found


def _no_input(inputs: list[str], names: list[str]) -> DataError:
    pairs = [(name, nearest(name, names)) for name in inputs]
    close = [f"`{found}` should perhaps be `{name}`" for name, found in pairs if found]
    return DataError(
        f"The file must have the input columns {', '.join(inputs)}, but has only {', '.join(names) or 'none'}.",
        f"Rename its columns: {'; '.join(close)}." if close else "Give a file like the one that the model learnt from.",
    )
