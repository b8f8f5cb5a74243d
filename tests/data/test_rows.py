"""Row hashes, row ids, keys and content hashes: unambiguous, and the same whatever the batches."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.rows import ContentHash, column_keys, hexadecimal, numbered, row_hashes, value_keys, words

CELL = st.none() | st.text(max_size=4)
ROWS = st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20)


def batch(rows: list[tuple[str | None, str | None]]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array([r[n] for r in rows], pa.string()) for n, name in enumerate(["a", "b"])})


@settings(deadline=None)
@given(ROWS, st.integers(0, 20))
def test_equal_rows_and_only_those_have_equal_hashes(rows: list[tuple[str | None, str | None]], cut: int) -> None:
    hashes = row_hashes(batch(rows)).to_pylist()
    assert len(set(hashes)) == len(set(rows))
    alone = [row_hashes(batch([row]))[0].as_py() for row in rows]
    sliced = row_hashes(batch(rows).slice(min(cut, len(rows) - 1))).to_pylist()
    assert hashes == alone
    assert hashes[min(cut, len(rows) - 1) :] == sliced


def test_the_order_of_columns_does_not_matter_and_null_is_not_blank() -> None:
    one = row_hashes(pa.record_batch({"a": ["1"], "b": ["2"]}))
    other = row_hashes(pa.record_batch({"b": ["2"], "a": ["1"]}))
    assert one.equals(other)
    rows = pa.record_batch({"a": pa.array([None, ""], pa.string()), "b": ["", None]})
    assert len(set(row_hashes(rows).to_pylist())) == 2


def test_this_hash_stays() -> None:
    """Splits hang on it: a change of this value re-draws everybody's test rows."""
    rows = pa.record_batch({"text": ["好", None], "n": pa.array([1.5, None]), "i": [7, 8]})
    assert hexadecimal(row_hashes(rows)).to_pylist() == [
        "2db1c916428e50f147b3d047f619f2eb",
        "7a9f84c82e2154930c99b57900b1d61a",
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None]),
        pa.array([1.5, None, 2.0]),
        pa.array([True, False, None]),
        pa.array([1, None, 2], pa.timestamp("us", "UTC")),
        pa.array([1, None, 2], pa.date32()),
        pa.array([b"\xff", None, b"\xfe"]),
        pa.array([["a"], None, ["a", "b"]]),
        pa.array(["x", None, "y"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_typed_columns(column: pa.Array) -> None:
    rows = pa.RecordBatch.from_arrays([column], ["x"])
    hashes = row_hashes(rows).to_pylist()
    assert len(set(hashes)) == 3
    assert row_hashes(rows.slice(1)).to_pylist() == hashes[1:]
    assert len(set(column_keys(column).tolist())) == 3
    whole, pieces = ContentHash(), ContentHash()
    whole.update(column)
    pieces.update(column[:2])
    pieces.update(column[2:])
    assert whole.hexdigest() == pieces.hexdigest()


@settings(deadline=None)
@given(st.lists(CELL, max_size=20), st.lists(CELL, max_size=20))
def test_content_hashes_tell_values_apart(one: list[str | None], other: list[str | None]) -> None:
    found = []
    for values in (one, other):
        content = ContentHash()
        content.update(pa.array(values, pa.string()))
        found.append(content.hexdigest())
    assert (found[0] == found[1]) == (one == other)


@settings(deadline=None)
@given(ROWS)
def test_keys_are_equal_for_equal_rows(rows: list[tuple[str | None, str | None]]) -> None:
    keys = value_keys(batch(rows).columns)
    assert len(set(keys.tolist())) == len(set(rows))
    assert (keys != 0).all()


def test_zero_and_minus_zero_are_equal() -> None:
    assert len(set(column_keys(pa.array([0.0, -0.0])).tolist())) == 1


def test_occurrences_make_different_identifiers() -> None:
    hashes = row_hashes(batch([("a", "b")] * 3))
    named = hexadecimal(numbered(hashes, np.array([0, 1, 2])))
    assert len(set(named.to_pylist())) == 3
    assert named[0].as_py() == hexadecimal(hashes)[0].as_py() == hashes[0].as_py().hex()
    assert numbered(hashes[1:], np.array([1, 2])).to_pylist() == numbered(hashes, np.array([0, 1, 2])).to_pylist()[1:]
    assert words(hashes)[0].tolist() == [int.from_bytes(hashes[0].as_py()[n : n + 8], "big") for n in (0, 8)]
