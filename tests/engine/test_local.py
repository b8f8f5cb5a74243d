from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from luban.engine.local import LocalEngine
from luban.errors import ConfigError, DataError, LubanError
from luban.store.process import _start

from . import work

ENGINE = LocalEngine()


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_results_come_in_order_whatever_the_number_of_workers(num_workers: int) -> None:
    assert list(ENGINE.map(work.double, range(50), num_workers)) == [2 * number for number in range(50)]
    assert list(ENGINE.map(work.double, [], num_workers)) == []
    assert list(ENGINE.map(functools.partial(work.add, more=5), [1, 2], num_workers)) == [6, 7]


def test_one_worker_is_this_thread_and_more_are_processes_or_threads() -> None:
    here = work.where(0)
    assert set(ENGINE.map(work.where, range(4), 1)) == {here}
    assert os.getpid() not in {pid for pid, _ in ENGINE.map(work.where, range(4), 2)}
    threads = set(ENGINE.map(work.where_in_threads, range(4), 2))
    assert {pid for pid, _ in threads} == {os.getpid()}
    assert here not in threads
    partial = functools.partial(work.where_in_threads)
    assert {pid for pid, _ in ENGINE.map(partial, range(4), 2)} == {os.getpid()}


@pytest.mark.parametrize("fn", [work.double, work.where_in_threads])
def test_only_a_few_batches_are_under_way(fn: object) -> None:
    taken = 0

    def batches() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = ENGINE.map(fn, batches(), 2)
    for done in range(1, 20):
        next(results)
        assert taken <= done + 5
    results.close()
    assert taken < 30


@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_error_in_a_worker_is_raised_here_with_its_hint(num_workers: int) -> None:
    results = ENGINE.map(work.refuse, range(100), num_workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match="three is refused") as caught:
        next(results)
    assert caught.value.hint == "Leave it out."


def test_an_error_in_the_batches_ends_the_workers() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        list(ENGINE.map(work.double, batches(), 2))


def test_a_worker_that_died_is_said_to_have_died() -> None:
    with pytest.raises(LubanError, match="A worker process died"):
        list(ENGINE.map(work.die, range(10), 2))


def test_the_number_of_workers_must_make_sense() -> None:
    with pytest.raises(ConfigError, match="`num_workers` must be at least 1, but got 0"):
        ENGINE.map(work.double, [1], 0)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, work.__file__, tmp_path])
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while any(_start(pid) not in (None, "gone") for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.02)
