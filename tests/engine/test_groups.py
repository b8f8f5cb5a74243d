from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from luban.engine import groups as module
from luban.engine.groups import Groups, sort_keys
from luban.engine.local import LocalEngine
from luban.errors import StoreError

KEYS = st.sampled_from([0, 1, 2, 3, 5, 2**52, 2**52 + 1, 2**63, 2**64 - 2, 2**64 - 1])
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def naive(keys: np.ndarray) -> list[list[int]]:
    """Groups in the order of key, then column."""
    found = defaultdict(list)
    for position, row in enumerate(keys.tolist()):
        for column, key in enumerate(row):
            if key:
                found[key, column].append(position)
    return [found[key] for key in sorted(found) if len(found[key]) > 1]


def batches(keys: np.ndarray, cuts: list[int]) -> list[tuple[int, np.ndarray]]:
    bounds = [0, *sorted(min(cut, len(keys)) for cut in cuts), len(keys)]
    return [(start, keys[start:end]) for start, end in pairwise(bounds)]


def as_lists(groups: Groups) -> list[list[int]]:
    return [group.tolist() for group in groups]


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    columns = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(KEYS, min_size=columns, max_size=columns), max_size=60))
    return np.array(rows, np.uint64).reshape(-1, columns)


@SAME_FOLDER
@given(keys=tables(), cuts=st.lists(st.integers(0, 60), max_size=4), max_records=st.sampled_from([1, 2, 5, 1000]))
def test_groups_equal_naive_ones_whatever_batches_and_memory(
    tmp_path: Path, keys: np.ndarray, cuts: list[int], max_records: int
) -> None:
    spill = module._Spill(tmp_path, max_records, 52)
    for start, batch in batches(keys, cuts):
        spill.add(module._records(start, batch))
    spill.flush()
    found = Groups(spill)
    assert as_lists(found) == naive(keys)
    assert as_lists(found) == naive(keys), "it may be read again"
    found.close()


def test_chunks_and_iteration_say_the_same(tmp_path: Path) -> None:
    keys = np.random.default_rng(0).integers(0, 3000, (20_000, 2)).astype(np.uint64) << np.uint64(50)
    groups = LocalEngine().sort([(0, keys[:7000]), (7000, keys[7000:])], tmp_path, memory_bytes=1)
    flat = []
    num_chunks = 0
    for positions, offsets in groups.chunks():
        assert positions.dtype == offsets.dtype == np.int64
        assert offsets[0] == 0
        assert offsets[-1] == len(positions)
        flat += [positions[a:b].tolist() for a, b in pairwise(offsets)]
        num_chunks += 1
    assert num_chunks > 1
    assert flat == as_lists(groups) == naive(keys)
    assert all(group.dtype == np.int64 for group in groups)


def test_one_key_for_all_rows_is_one_group(tmp_path: Path) -> None:
    keys = np.full(50_000, 7, np.uint64)
    keys[::1000] = 8
    found = as_lists(sort_keys([(0, keys)], tmp_path, memory_bytes=1))
    assert [len(group) for group in found] == [49_950, 50]
    assert found[0] == np.flatnonzero(keys == 7).tolist()


def test_positions_may_be_given_with_gaps(tmp_path: Path) -> None:
    given = [(np.array([3, 9]), np.array([5, 6], np.uint64)), (np.array([40]), np.array([[5]], np.uint64))]
    assert as_lists(sort_keys(given, tmp_path)) == [[3, 40]]


def test_no_keys_no_groups(tmp_path: Path) -> None:
    assert as_lists(sort_keys([], tmp_path)) == []
    assert as_lists(sort_keys([(0, np.zeros((5, 2), np.uint64)), (5, np.zeros((0, 2), np.uint64))], tmp_path)) == []


@pytest.mark.parametrize(
    ("positions", "keys"),
    [
        (0, np.zeros(3, np.int64)),
        (0, np.zeros((3, 1, 1), np.uint64)),
        (np.array([1, 2]), np.zeros(3, np.uint64)),
        (-1, np.ones(3, np.uint64)),
    ],
)
def test_arrays_of_other_shapes_are_refused(tmp_path: Path, positions: object, keys: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be"):
        sort_keys([(positions, keys)], tmp_path)


def test_the_spill_leaves_no_file(tmp_path: Path) -> None:
    groups = sort_keys([(0, np.ones(10, np.uint64))], tmp_path)
    assert list(tmp_path.iterdir()) == []
    groups.close()


def test_a_spill_that_cannot_be_written_is_an_error_that_says_so(tmp_path: Path) -> None:
    code = (
        "import resource, sys; import numpy as np; from pathlib import Path\n"
        "from luban.engine.groups import sort_keys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: sort_keys([(0, np.arange(1, 50_000, dtype=np.uint64))], Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("StoreError A spill file could not be written"), done.stdout


def test_a_full_disk_while_spilling(tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; the file-size limit is tested instead")
    try:
        with pytest.raises(StoreError, match="disk is full"):
            sort_keys([(0, np.arange(1, 200_000, dtype=np.uint64))], tmp_path)
        assert os.statvfs(tmp_path).f_bfree * 4096 > 900_000, "the space is given back"
    finally:
        subprocess.run(["umount", tmp_path], check=True)
