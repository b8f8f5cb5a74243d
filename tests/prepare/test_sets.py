"""The global machinery: chunks, occurrence numbers, fetching by position, copies that share a key by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.rows import row_hashes
from luban.data.sources.base import RawBatch, Reject
from luban.engine.local import LocalEngine
from luban.prepare import copies, sets, spool
from luban.prepare.base import Candidates, Decision
from luban.prepare.copies import equal_groups
from luban.prepare.decisions import Decisions
from luban.prepare.sets import in_chunks, occurrences
from luban.prepare.spool import HASH, Spool, even


def spooled(path: Path, batches: Sequence[pa.RecordBatch]) -> Spool:
    found = Spool(path)
    for batch in batches:
        found.write(batch)
    found.finish()
    return found


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.sampled_from("abc"), min_size=1, max_size=40), size=st.integers(1, 50))
def test_occurrence_numbers_count_equal_rows(
    tmp_path_factory: pytest.TempPathFactory, values: list[str], size: int
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    batch = pa.record_batch({"x": values})
    hashes = pa.record_batch({HASH: row_hashes(batch)})
    parts = [hashes.slice(start, size) for start in range(0, len(values), size)]
    found = occurrences(spooled(folder / "s", parts), LocalEngine(), folder)
    assert found.tolist() == [values[:n].count(value) for n, value in enumerate(values)]


def test_hashes_that_share_their_first_half_are_told_apart(tmp_path: Path) -> None:
    same = bytes(7) + b"\x01"
    rows = [same + bytes([n] * 8) for n in (3, 1, 3, 1, 2)]
    batch = pa.record_batch({HASH: pa.array(rows, pa.binary(16))})
    assert occurrences(spooled(tmp_path / "s", [batch]), LocalEngine(), tmp_path).tolist() == [0, 0, 1, 1, 0]


def test_fetch_reads_rows_by_position(tmp_path: Path) -> None:
    found = spooled(
        tmp_path / "s", [pa.record_batch({"n": [1, 2, 3], "x": list("abc")}), pa.record_batch({"n": [4], "x": ["d"]})]
    )
    assert found(np.array([0, 2, 3]), ["x", "n"]).to_pydict() == {"x": ["a", "c", "d"], "n": [1, 3, 4]}
    assert found(np.array([], np.int64), ["n"]).num_rows == 0
    assert [start for start, _ in found.scan(["n"])] == [0, 3]


def test_even_batches_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "BATCH_ROWS", 4)
    sizes = [1, 0, 9, 2, 3]
    rows = [pa.record_batch({"n": pa.array(range(size), pa.int64())}) for size in sizes]
    raw = [RawBatch(batch, (Reject("x", "", ""),)) for batch in rows]
    found = list(even([*raw, RawBatch(rows[1], (Reject("y", "", ""),))]))
    assert [batch.rows.num_rows for batch in found] == [4, 4, 4, 3]
    assert [n for batch in found for n in batch.rows["n"].to_pylist()] == [n for size in sizes for n in range(size)]
    assert sum(len(batch.rejects) for batch in found) == 6


@given(st.lists(st.integers(2, 9), min_size=1, max_size=12), st.integers(1, 20))
def test_chunks_hold_whole_groups(lengths: list[int], most: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(offsets[-1])
    found = list(in_chunks([(rows, offsets)], most))
    assert np.concatenate([chunk.rows for chunk in found]).tolist() == rows.tolist()
    assert [size for chunk in found for size in np.diff(chunk.offsets).tolist()] == lengths
    assert all(len(chunk.rows) <= most or len(chunk.offsets) == 2 for chunk in found)


class InMemory:
    def __init__(self, values: list[str | None]) -> None:
        self.table = pa.table({"x": pa.array(values, pa.string())})
        self.num_rows = len(values)

    def __call__(self, rows: np.ndarray, columns: Sequence[str], /) -> pa.Table:
        assert (np.diff(rows) > 0).all()
        return self.table.select(columns).take(pa.array(rows))


@settings(deadline=None)
@given(
    values=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=2, max_size=20), piece=st.sampled_from([2, 1000])
)
def test_rows_that_share_a_key_by_chance_are_not_copies(values: list[str | None], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copies, "PIECE_ROWS", piece)
        one = Candidates(np.arange(len(values)), np.array([0, len(values)]))
        found: dict[int, int] = {}
        for rows, firsts in equal_groups(iter([one]), InMemory(values), ("x",)):
            found.update(zip(rows.tolist(), firsts.tolist(), strict=True))
    assert found == {n: values.index(value) for n, value in enumerate(values) if values.count(value) > 1}


def test_the_last_rule_counts_and_dropped_rows_are_hidden() -> None:
    fate = Decisions(6)
    fate.drop([0], "parse", "x", "")
    fate.take(Decision(np.array([2, 3]), "drop", "duplicates", np.array([1, 1]), "copy"))
    assert fate.visible(0, 6, False).tolist() == [False, True, False, False, True, True]
    assert fate.visible(0, 6, True).tolist() == [False, True, True, True, True, True]
    fate.take(Decision(np.array([1, 2]), "drop", "label-conflicts", np.array([2, 1]), "conflict"))
    assert fate.counts() == {"parse": 1, "duplicates": 1, "label-conflicts": 2}
    assert fate.kept.tolist() == [False, False, False, False, True, True]


def test_chunks_are_bounded_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is given as many rows at once as fit into memory, not more."""
    from luban.prepare.duplicates import Duplicates

    seen: list[int] = []
    decide = Duplicates.decide

    def watched(
        self: Duplicates, candidates: Iterator[Candidates], fetch: object, schema: object
    ) -> Iterator[Decision]:
        def note() -> Iterator[Candidates]:
            for chunk in candidates:
                seen.append(len(chunk.rows))
                yield chunk

        return decide(self, note(), fetch, schema)  # type: ignore[arg-type]

    monkeypatch.setattr(Duplicates, "decide", watched)
    monkeypatch.setattr(sets, "CHUNK_BYTES", 1)
    monkeypatch.setattr(sets, "_LEAST_ROWS", 6)
    from .memory import make

    texts = [f"text number {n // 2}" for n in range(60)]
    dataset = make(tmp_path / "d", {"t": texts}, {"columns": {"t": "text"}}, {"steps": ["duplicates"]})
    assert dataset.num_rows == 30
    assert seen == [6] * 10
