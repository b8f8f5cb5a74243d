"""What is asked together, in which order, and what becomes of questions that are late, large or bad."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.data.table import Table
from luban.serve.batches.batching import FEW, MOST_LOOKS, Batcher
from luban.serve.batches.batching_config import BatchingConfig
from luban.serve.batches.pace import ENOUGH, TRY_AGAIN, Pace
from luban.serve.fleet.served import Served
from luban.serve.http.problems import Problem
from luban.tasks.base import TaskOptions

ALWAYS = math.inf


class Doubling:
    """Answers twice the number of a row; "bad" raises, "wait" waits to be let go."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.threads: set[str] = set()
        self.go_on = threading.Event()
        self.takes_s = 0.0

    def predict(self, rows: list[dict[str, Any]], options: TaskOptions | None = None) -> Table:
        numbers = [row["n"] for row in rows]
        self.batches.append(numbers)
        self.threads.add(threading.current_thread().name.partition("_")[0])
        if "wait" in numbers:
            assert self.go_on.wait(10)
        if "bad" in numbers:
            raise ValueError("a bad row")
        end = time.thread_time() + self.takes_s * len(rows)
        while time.thread_time() < end:
            pass
        return Table({"twice": [n if isinstance(n, str) else 2 * n for n in numbers]}, [None] * len(rows))


class Options(TaskOptions):
    threshold: float = 0.5


def served_by(bundle: Doubling) -> Served:
    return SimpleNamespace(bundle=bundle, name="m", version=1, files=frozenset())  # type: ignore[return-value]


def rows(*numbers: Any) -> list[dict[str, Any]]:
    return [{"n": number} for number in numbers]


def run(body: Callable[[Batcher], Awaitable[None]], threads: int = 1, waiting: int = 4, **config: Any) -> None:
    async def inside() -> None:
        batcher = Batcher(threads, waiting, BatchingConfig.model_validate(config))
        try:
            await asyncio.wait_for(body(batcher), 20)
        finally:
            batcher.close()

    asyncio.run(inside())


def answers(*numbers: Any) -> list[dict[str, Any]]:
    return [{"twice": n if isinstance(n, str) else 2 * n} for n in numbers]


def test_what_has_arrived_is_asked_together_and_one_alone_at_once() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        assert await batcher.submit(served, rows(1), None, ALWAYS) == answers(1)
        futures = [batcher.submit(served, rows(n, -n), None, ALWAYS) for n in range(3)]
        assert await asyncio.gather(*futures) == [answers(n, -n) for n in range(3)]

    run(body)
    assert bundle.batches == [[1], [0, 0, 1, -1, 2, -2]]
    assert bundle.threads == {"MainThread"}


def test_without_batching_each_is_asked_by_itself() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        futures = [batcher.submit(served, rows(n), None, ALWAYS) for n in range(3)]
        assert await asyncio.gather(*futures) == [answers(n) for n in range(3)]

    run(body, enabled=False)
    assert bundle.batches == [[0], [1], [2]]


def test_other_options_and_other_bundles_are_asked_apart() -> None:
    first, second = Doubling(), Doubling()
    one, other = served_by(first), served_by(second)

    async def body(batcher: Batcher) -> None:
        options = [None, Options(threshold=0.1), Options(threshold=0.2), Options(threshold=0.1)]
        futures = [batcher.submit(one, rows(n), asked, ALWAYS) for n, asked in enumerate(options)]
        await asyncio.gather(*futures, batcher.submit(other, rows(9), None, ALWAYS))

    run(body)
    assert sorted(first.batches) == [[0], [1, 3], [2]]
    assert second.batches == [[9]]


def test_a_question_that_raises_spoils_no_other() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        futures = [batcher.submit(served, rows(n), None, ALWAYS) for n in (1, "bad", 3)]
        found = await asyncio.gather(*futures, return_exceptions=True)
        assert [found[0], found[2]] == [answers(1), answers(3)]
        assert isinstance(found[1], ValueError)

    run(body)
    assert bundle.batches == [[1, "bad", 3], [1], ["bad"], [3]]


def test_others_gather_while_a_batch_is_in_a_thread() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        first = batcher.submit(served, rows("wait"), None, ALWAYS)
        await asyncio.sleep(0.05)
        rest = []
        for n in range(3):
            rest.append(batcher.submit(served, rows(n), None, ALWAYS))
            await asyncio.sleep(0)
        assert batcher.num_waiting == 4
        bundle.go_on.set()
        assert await asyncio.gather(*rest) == [answers(n) for n in range(3)]
        assert await first == answers("wait")
        assert batcher.num_waiting == 0

    run(body, inline_ms=0)
    assert bundle.batches == [["wait"], [0, 1, 2]]
    assert bundle.threads == {"luban-predict"}


def test_what_is_dear_goes_to_a_thread_once_that_is_known() -> None:
    bundle = Doubling()
    bundle.takes_s = 0.02
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        for n in range(3):
            await batcher.submit(served, rows(n), None, ALWAYS)

    run(body)
    assert bundle.threads == {"MainThread", "luban-predict"}


def test_many_light_ones_go_to_a_thread_together() -> None:
    bundle = Doubling()
    bundle.takes_s = 0.002
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        for n in range(3):
            await batcher.submit(served, rows(n), None, ALWAYS)
        await asyncio.gather(*[batcher.submit(served, rows(n), None, ALWAYS) for n in range(20)])

    run(body, inline_ms=10)
    assert bundle.batches[3:] == [list(range(20))]
    assert bundle.threads == {"MainThread", "luban-predict"}


def test_a_deadline_passes_while_it_waits() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        first = batcher.submit(served, rows("wait"), None, ALWAYS)
        await asyncio.sleep(0.05)
        late = batcher.submit(served, rows(1), None, time.monotonic() + 0.05)
        past = batcher.submit(served, rows(2), None, time.monotonic() - 1)
        good = batcher.submit(served, rows(3), None, time.monotonic() + 100)
        for one in (late, past):
            with pytest.raises(Problem) as raised:
                await one
            assert raised.value.kind == "too-late"
        assert not first.done(), "the deadline did not wait for the thread"
        bundle.go_on.set()
        assert await good == answers(3)

    run(body, inline_ms=0)
    assert bundle.batches == [["wait"], [3]]


def test_a_deadline_passes_while_it_is_at_work() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        late = batcher.submit(served, rows("wait"), None, time.monotonic() + 0.05)
        with pytest.raises(Problem):
            await late
        bundle.go_on.set()
        assert await batcher.submit(served, rows(1), None, ALWAYS) == answers(1)

    run(body, inline_ms=0)


def test_large_questions_are_asked_in_pieces_and_others_come_between() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        large = batcher.submit(served, rows(*range(10)), None, ALWAYS)
        small = batcher.submit(served, rows(100), None, ALWAYS)
        assert await small == answers(100)
        assert await large == answers(*range(10))

    run(body, inline_ms=0, max_rows=4)
    assert bundle.batches == [[0, 1, 2, 3], [100], [4, 5, 6, 7], [8, 9]]


def test_too_many_large_ones_are_sent_away_and_small_ones_are_not() -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        first = batcher.submit(served, rows(*["wait"] * 9), None, ALWAYS)
        await asyncio.sleep(0.05)
        second = batcher.submit(served, rows(*range(9)), None, ALWAYS)
        with pytest.raises(Problem) as raised:
            batcher.submit(served, rows(*range(9)), None, ALWAYS)
        assert (raised.value.kind, raised.value.headers) == ("busy", {"retry-after": "1"})
        assert await batcher.submit(served, rows(1), None, ALWAYS) == answers(1)
        bundle.go_on.set()
        await asyncio.gather(first, second)
        await batcher.submit(served, rows(*range(9)), None, ALWAYS)

    run(body, waiting=2)


def test_no_rows_are_answered_without_the_bundle() -> None:
    bundle = Doubling()

    async def body(batcher: Batcher) -> None:
        assert await batcher.submit(served_by(bundle), [], None, ALWAYS) == []

    run(body)
    assert bundle.batches == []


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=12), min_size=1, max_size=12),
    st.booleans(), st.integers(1, 9), st.sampled_from([0, 4.0]),
)  # fmt: skip
def test_everybody_gets_their_own_answers(
    questions: list[list[int]], enabled: bool, max_rows: int, inline_ms: float
) -> None:
    bundle = Doubling()
    served = served_by(bundle)

    async def body(batcher: Batcher) -> None:
        futures = [batcher.submit(served, rows(*numbers), None, ALWAYS) for numbers in questions]
        assert await asyncio.gather(*futures) == [answers(*numbers) for numbers in questions]

    run(body, threads=2, waiting=99, enabled=enabled, max_rows=max_rows, inline_ms=inline_ms)
    assert all(len(batch) <= max_rows for batch in bundle.batches)
    assert sum(map(len, bundle.batches)) == sum(map(len, questions))


class TestPace:
    def test_batches_grow_while_a_row_gets_cheaper(self) -> None:
        pace = Pace()
        for size, seconds in ((1, 1.0), (2, 1.5), (4, 2.0), (8, 3.0)) * ENOUGH:
            pace.seen(size, seconds)
        assert pace.largest(256) == 256

    def test_they_stop_where_a_row_gets_dearer_and_try_again_now_and_then(self) -> None:
        pace = Pace()
        for size, seconds in ((1, 1.0), (4, 2.0), (8, 40.0), (16, 20.0)) * ENOUGH:
            pace.seen(size, seconds)
        found = [pace.largest(256) for _ in range(2 * TRY_AGAIN)]
        assert set(found) == {7, 256}
        assert found.count(256) == 2

    def test_a_size_speaks_against_itself_only_after_some_calls(self) -> None:
        pace = Pace()
        for _ in range(ENOUGH):
            pace.seen(1, 1.0)
        for _ in range(ENOUGH - 1):
            pace.seen(8, 80.0)
            assert pace.largest(256) == 256
        pace.seen(8, 80.0)
        assert pace.largest(256) == 1

    def test_it_is_a_mean_of_unlike_rows(self) -> None:
        pace = Pace()
        for number in range(400):
            pace.seen(1, (0.001, 0.001, 0.001, 0.005)[number % 4])
        assert 0.0015 < pace.expected(1) < 0.0025

    def test_one_disturbed_call_is_soon_forgotten(self) -> None:
        pace = Pace()
        for _ in range(30):
            pace.seen(4, 0.004)
        pace.seen(4, 400.0)
        assert pace.expected(4) < 0.006

    @given(st.lists(st.tuples(st.integers(1, 500), st.floats(1e-6, 100)), max_size=30), st.integers(1, 300))
    def test_a_batch_is_never_empty_nor_larger_than_allowed(self, seen: list[tuple[int, float]], most: int) -> None:
        pace = Pace()
        for size, seconds in seen:
            pace.seen(size, seconds)
        assert 1 <= pace.largest(most) <= most
        assert pace.expected(most) >= 0


def test_while_more_come_the_loop_looks_again_and_not_for_ever() -> None:
    bundle = Doubling()

    async def body(batcher: Batcher) -> None:
        served = served_by(bundle)
        futures = [batcher.submit(served, rows(n), None, ALWAYS) for n in range(FEW)]
        for n in range(FEW, 40):  # one more in each turn of the loop
            await asyncio.sleep(0)
            futures.append(batcher.submit(served, rows(n), None, ALWAYS))
        await asyncio.gather(*futures)
        assert [future.result() for future in futures] == [[{"twice": 2 * n}] for n in range(40)]

    run(body)
    first = len(bundle.batches[0])
    assert FEW < first <= FEW + MOST_LOOKS + 1


def test_a_lone_question_is_asked_at_the_first_look() -> None:
    bundle = Doubling()

    async def body(batcher: Batcher) -> None:
        future = batcher.submit(served_by(bundle), rows(1), None, ALWAYS)
        await asyncio.sleep(0)
        assert future.done()

    run(body)
