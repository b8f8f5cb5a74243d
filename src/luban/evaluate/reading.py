"""A file as a bundle reads it: parsed inputs, outputs, and labels as scores have them.

Everything goes the way of prediction; the target is read by its own type, with the row steps of its column. A row that
cannot be answered is counted with the column that stood in the way. Decided here: a label that training never
saw is unknown, a tag that it never saw is left out. Knows no metric.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from luban.bundle.bundle import Bundle
from luban.bundle.preprocess import NO_INPUT, Preprocess
from luban.catalog import nearest
from luban.data.dataset import ROW_ID
from luban.data.rows import row_hashes, words
from luban.data.schema import Schema
from luban.data.sources.base import Source
from luban.errors import DataError
from luban.evaluate.rows import Rows

BATCH_ROWS = 4096


class Reading:
    """A file, read once: parsed inputs, outputs of the rows that were answered, and their labels."""

    def __init__(self, bundle: Bundle, source: Source) -> None:
        self._bundle = bundle
        target = bundle.schema.target
        self._target = None if target is None else target.name
        self._labels = Preprocess(_as_input(bundle.schema), bundle.manifest.row_steps)
        self._who = [c.name for c in bundle.schema.of_role("subject") or bundle.schema.of_role("group")][:1]
        self.num_rows = self.num_rejected = self.num_unlabelled = 0
        self.refused: Counter[str] = Counter()
        self._names: list[np.ndarray] = []
        self.columns: tuple[str, ...] = ()
        self._parsed: dict[str, list[pa.Array]] = {}
        self._truths: list[Any] = []
        self._clusters: list[Any] = []
        pieces = [self._batch(batch) for batch in self._batches(source)]
        self.outputs = np.concatenate(pieces) if pieces else np.zeros((0, bundle.manifest.task.width))

    def _batches(self, source: Source) -> Iterator[pa.RecordBatch]:
        for raw in source.read(BATCH_ROWS):
            self.num_rejected += len(raw.rejects)
            if not self.columns:
                self.columns = tuple(raw.rows.schema.names)
                self._check()
            self.num_rows += raw.rows.num_rows
            if raw.rows.num_rows:
                yield raw.rows
        if not self.num_rows:
            raise DataError("The file has no row.", "Give a file with a header and at least one row.")

    def _check(self) -> None:
        inputs = [column.name for column in self._bundle.schema.inputs]
        if not self.present:
            close = [f"`{near}` should perhaps be `{name}`" for name in inputs if (near := nearest(name, self.columns))]
            raise DataError(
                f"The file must have the input columns {', '.join(inputs)}, but has only {', '.join(self.columns)}.",
                f"Rename its columns: {'; '.join(close)}." if close else "Give a file like the one it learnt from.",
            )

    @property
    def present(self) -> list[str]:
        """Input columns that the file has."""
        return [column.name for column in self._bundle.schema.inputs if column.name in self.columns]

    @property
    def labelled(self) -> bool:
        """Whether the file has the target's column."""
        return self._target is not None and self._target in self.columns

    def num_among(self, rows: Rows) -> int:
        """How many of the rows read are among `rows`, by their ids; equal rows of a file with other columns are not
        recognised."""
        ids = [int(row_id[:16], 16) for piece in rows.read(ROW_ID) for row_id in piece.to_pylist()]
        return int(np.isin(np.concatenate(self._names), np.array(ids, np.uint64)).sum())

    def _batch(self, batch: pa.RecordBatch) -> np.ndarray:
        """Outputs [n, width] of the rows that can be answered."""
        self._names.append(words(row_hashes(batch))[:, 0])
        values = self._bundle.values(batch.select(self.present))
        for name in self.present:
            storage = self._bundle.preprocess.features[name].storage
            self._parsed.setdefault(name, []).append(pa.array(values.columns[name], storage))
        self.refused.update(error.partition(":")[0] if ":" in error else "" for error in values.errors if error)
        good = [at for at, error in enumerate(values.errors) if error is None]
        kept = {name: [column[at] for at in good] for name, column in values.columns.items()}
        if self.labelled and self._target is not None:
            labels = self._labels.batch(batch.select([self._target]))
            self.num_unlabelled += sum(labels.errors[at] == NO_INPUT for at in good)
            self._truths += [labels.columns[self._target][at] for at in good]
        if self._who and self._who[0] in self.columns:
            who = batch.column(self._who[0]).to_pylist()
            self._clusters += [who[at] for at in good]
        return self._bundle.run(self._bundle.encode(kept))

    def column(self, name: str) -> Iterator[pa.Array]:
        """Parsed values of an input."""
        return iter(self._parsed[name])

    def truth(self) -> tuple[np.ndarray, np.ndarray]:
        """The truth as scores have it, and the positions [n] among the answered rows that it is of."""
        if not self.labelled or not len(self.outputs):
            return np.zeros(0), np.zeros(0, np.int64)
        decoding, task = self._bundle.manifest.task.decoding, self._bundle.task
        scores = task.scores(self.outputs[:1], decoding)
        if np.ndim(scores) == 1:
            known = [at for at, value in enumerate(self._truths) if value is not None]
            return np.array([float(self._truths[at]) for at in known]), np.array(known, np.int64)
        places = {str(label): number for number, label in enumerate(decoding["classes"])}
        if np.ndim(task.answered(np.asarray(scores), decoding)) == 2:
            return _tags(self._truths, places)
        known = [at for at, value in enumerate(self._truths) if value is not None and str(value) in places]
        return np.array([places[str(self._truths[at])] for at in known], np.int64), np.array(known, np.int64)

    def clusters(self, known: np.ndarray) -> np.ndarray | None:
        """Who the rows [n] hang together by, as numbers from 0; None where the file does not say."""
        if not self._clusters:
            return None
        codes: dict[Any, int] = {}
        chosen = [(at, self._clusters[at]) for at in known.tolist()]
        numbers = [codes.setdefault(("alone", at) if who is None else who, len(codes)) for at, who in chosen]
        return np.array(numbers, np.int64)


def _as_input(schema: Schema) -> Schema:
    """The target alone, as a column that is read."""
    target = schema.target
    return Schema(columns=() if target is None else (target.model_copy(update={"role": "input"}),))


def _tags(values: Sequence[Any], places: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Tags [n, T] of rows whose list could be read; tags that the model does not know are left out."""
    known = [at for at, value in enumerate(values) if value is not None]
    found = np.zeros((len(known), len(places)), np.int64)
    for row, at in enumerate(known):
        found[row, [places[str(tag)] for tag in values[at] if str(tag) in places]] = 1
    return found, np.array(known, np.int64)
