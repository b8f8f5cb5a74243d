"""The last pass: kept rows into the dataset's files, rows set aside into quarantine, changed values into their
file, profile, fingerprint.

Decided here: the fingerprint is taken of the stream of kept values, so that neither batches nor files nor
compression nor what the values were before matter. Knows no column type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from luban.catalog import fingerprint
from luban.data.dataset import GROUP, ROW_ID, SPLIT
from luban.data.profile import ColumnProfile
from luban.data.rows import ContentHash, hexadecimal, numbered
from luban.data.schema import Schema
from luban.data.splits import NAMES
from luban.prepare.changes import ChangesFile, Rule
from luban.prepare.decisions import KEPT, Decisions
from luban.prepare.ingest import Ingested
from luban.prepare.parts import Parts
from luban.prepare.plan import has_classes
from luban.prepare.quarantine import Quarantine, as_json
from luban.prepare.spool import CHANGED, HASH, Spool

FILE_ROWS = 1_000_000


@dataclass(frozen=True)
class Written:
    """What the last pass found out."""

    fingerprint: str
    splits: dict[str, int]
    profiles: dict[str, ColumnProfile]
    class_counts: dict[str, dict[str, int]] | None
    """Split to class to rows; None where the target has no classes."""
    changed: dict[Rule, int]
    """Rows of changed.parquet by column and rule."""


class _Files:
    """Parquet files of some million rows each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: pq.ParquetWriter | None = None
        self._rows = self._number = 0

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            path = self._folder / f"rows-{self._number:05d}.parquet"
            self._writer = pq.ParquetWriter(path, batch.schema, compression="zstd")
            self._number, self._rows = self._number + 1, 0
        self._writer.write_batch(batch)
        self._rows += batch.num_rows
        if self._rows >= FILE_ROWS:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class _Tally:
    """Hashes, profiles and class counts of the rows that are kept."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.hashes = {name: ContentHash() for name in [*(c.name for c in schema.columns), ROW_ID, GROUP, SPLIT]}
        self.profiles = {column.name: ColumnProfile() for column in schema.columns}
        self.splits = np.zeros(len(NAMES), np.int64)
        self.classes: dict[str, np.ndarray] | None = {} if has_classes(schema.target) else None

    def add(self, batch: pa.RecordBatch, part: np.ndarray, keys: np.ndarray) -> None:
        for name, content in self.hashes.items():
            content.update(batch.column(name))
        for name, profile in self.profiles.items():
            profile.update(batch.column(name), keys)
        self.splits += np.bincount(part, minlength=len(NAMES))
        if self.classes is None or self.schema.target is None:
            return
        encoded = batch.column(self.schema.target.name).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        counts = np.bincount(codes * len(NAMES) + part, minlength=len(encoded.dictionary) * len(NAMES))
        for value, row in zip(encoded.dictionary.to_pylist(), counts.reshape(-1, len(NAMES)), strict=True):
            self.classes[str(value)] = self.classes.get(str(value), np.zeros(len(NAMES), np.int64)) + row

    def finish(self, changed: dict[Rule, int]) -> Written:
        content = {name: stream.hexdigest() for name, stream in self.hashes.items()}
        return Written(
            fingerprint([self.schema.identity(), int(self.splits.sum()), content]),
            dict(zip(NAMES, self.splits.tolist(), strict=True)),
            self.profiles,
            None if self.classes is None else self._class_counts(self.classes),
            changed,
        )

    def _class_counts(self, classes: dict[str, np.ndarray]) -> dict[str, dict[str, int]]:
        return {
            name: {value: int(row[code]) for value, row in sorted(classes.items())} for code, name in enumerate(NAMES)
        }


def write(
    found: Ingested,
    schema: Schema,
    occurrences: np.ndarray,
    decisions: Decisions,
    parts: Parts,
    out: Path,
    quarantine: Quarantine,
    progress: Callable[[float], None],
) -> Written:
    """Write the rows of a dataset; the caller writes its JSON files."""
    files, tally = _Files(out), _Tally(schema)
    names = [column.name for column in schema.columns]
    aside = _Aside(found, occurrences, decisions, quarantine)
    changed = ChangesFile(out / "changed.parquet", found.rules)
    splits = pa.array(NAMES)
    for start, batch in found.parsed.scan():
        rows = slice(start, start + batch.num_rows)
        identifiers = hexadecimal(numbered(batch.column(HASH), occurrences[rows]))
        changed.take(identifiers, batch.column(CHANGED))
        kept = decisions.rule[rows] == KEPT
        if not kept.all():
            aside.take(start, identifiers, ~kept)
        part, group = parts.part[rows][kept], parts.group[rows][kept]
        whole = pa.RecordBatch.from_arrays([*(batch.column(name) for name in names), identifiers], [*names, ROW_ID])
        whole = whole if kept.all() else whole.filter(pa.array(kept))
        extra = [pa.array(group), splits.take(pa.array(part))]
        whole = pa.RecordBatch.from_arrays([*whole.columns, *extra], [*whole.schema.names, GROUP, SPLIT])
        if whole.num_rows:
            files.write(whole)
            tally.add(whole, part, _sampling(whole.column(ROW_ID)))
        progress(rows.stop / found.parsed.num_rows)
    files.close()
    return tally.finish(changed.close())


def _sampling(identifiers: pa.Array) -> np.ndarray:
    """Numbers [B] uint64 that choose sample rows: the first bytes of the row ids, as they are."""
    digits = np.frombuffer(identifiers.buffers()[2], np.uint8)[identifiers.offset * 32 :][: len(identifiers) * 32]
    return digits.reshape(-1, 32)[:, :8].copy().view(">u8").ravel().astype(np.uint64)


class _Aside:
    """Gives rows that were set aside to quarantine, with their raw values and reasons."""

    def __init__(self, found: Ingested, occurrences: np.ndarray, decisions: Decisions, quarantine: Quarantine) -> None:
        self.raw, self.decisions, self.quarantine = found.raw, decisions, quarantine
        self._reasons = found.reasons.scan()
        self._known: dict[int, str] = {}
        self._until = -1
        self._others, self._other_ids = _other_ids(found.parsed, occurrences, decisions)

    def take(self, start: int, identifiers: pa.Array, aside: np.ndarray) -> None:
        """Rows of the batch that begins at `start`, where `aside` [B] is true."""
        rows = np.flatnonzero(aside)
        raw = self.raw.batch(start).take(pa.array(rows)).to_pylist()
        names = identifiers.take(pa.array(rows)).to_pylist()
        reasons = self._reasons_of(start + len(aside))
        others = self._others_of(rows + start)
        for row, name, other, values in zip((rows + start).tolist(), names, others, raw, strict=True):
            rule = self.decisions.rules[self.decisions.rule[row]]
            self.quarantine.add(
                {
                    "row_id": name,
                    "where": f"row {row + 1}",
                    "rule": rule.name,
                    "column": rule.column or None,
                    "reason": rule.reason or reasons[row],
                    "other": other if rule.copies else None,
                    "raw": as_json(values),
                }
            )

    def _others_of(self, rows: np.ndarray) -> list[str | None]:
        """Row ids of the rows that these copy or conflict with, None for none."""
        if self.decisions.other is None:
            return [None] * len(rows)
        others = self.decisions.other[rows]
        places = pa.array(np.searchsorted(self._others, others), mask=others < 0)
        found: list[str | None] = self._other_ids.take(places).to_pylist()
        return found

    def _reasons_of(self, end: int) -> dict[int, str]:
        """Reasons of the first pass for rows before `end` (and after those asked for before)."""
        known = {row: reason for row, reason in self._known.items() if row >= self._until}
        self._until = end
        while not known or max(known) < end:
            following = next(self._reasons, None)
            if following is None:
                break
            batch = following[1]
            known.update(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True))
        self._known = known
        return known


def _other_ids(parsed: Spool, occurrences: np.ndarray, decisions: Decisions) -> tuple[np.ndarray, pa.Array]:
    """Positions [M], ascending, of rows that others copy or conflict with, and their row ids [M]."""
    if decisions.other is None:
        return np.zeros(0, np.int64), pa.array([], pa.string())
    others = np.unique(decisions.other)
    others = others[others >= 0]
    hashes = parsed(others, [HASH]).column(0).combine_chunks()
    return others, hexadecimal(numbered(hashes, occurrences[others]))
