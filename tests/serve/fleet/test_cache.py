"""The response cache: nobody can tell that it is there but by the time and the counts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.serve.batches.batching import Batcher
from luban.serve.config import ServeConfig
from luban.serve.desk import Desk
from luban.serve.fleet.cache import MAX_ROWS, ResponseCache
from luban.serve.fleet.cache_config import CacheConfig
from luban.serve.fleet.routing import Arm, Picked
from luban.serve.fleet.served import Served
from luban.serve.question import ANYBODY, Answer, Entry, Question
from waiting import until

from ..conftest import FakeBundle, HandOrigin, Options

INPUTS = ("text", "stars")
ANY: Any = None


def served(version: int = 1, stateful: bool = False) -> Any:
    schema = SimpleNamespace(inputs=[SimpleNamespace(name=name) for name in INPUTS])
    stages = [SimpleNamespace(state="carried" if stateful else None)]
    manifest = SimpleNamespace(name="reviews", state=(), stages=stages)
    task = SimpleNamespace(Options=Options)
    bundle: Any = SimpleNamespace(identity=f"{version:064x}", schema=schema, manifest=manifest, task=task)
    return Served(SimpleNamespace(name="reviews", version=version), bundle, ANY)  # type: ignore[arg-type]


def told(of: Any, row: Mapping[str, Any], options: Options | None) -> Answer:
    """An answer that shows everything it may depend on, types included."""
    if row.get("text") == "bad":
        return {"error": "text: is bad"}
    seen = [(name, type(row.get(name, ...)).__name__, repr(row.get(name, ...))) for name in INPUTS]
    asked = options if options is not None else Options()
    return {"of": of.bundle.identity, "seen": seen, "options": asked.model_dump(), "tops": [{"value": 1}, {"value": 2}]}


class Asker:
    """Answers at once, and counts what it is asked."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.error: Exception | None = None

    def submit(self, of: Any, rows: list[Any], options: Any, deadline: float, track: Any = None) -> Any:
        self.rows += rows
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result([told(of, row, options) for row in rows])
        return future


def cache(asker: Asker, max_mb: float = 1.0, ttl_s: float = 60.0, now: list[float] | None = None) -> ResponseCache:
    at = now if now is not None else [0.0]
    return ResponseCache(asker.submit, CacheConfig(max_mb=max_mb, ttl_s=ttl_s), lambda: at[0])


def ask(held: ResponseCache, rows: list[Any], options: Options | None = None, of: Any = None) -> list[Answer]:
    async def asked() -> list[Answer]:
        return await held.submit(of if of is not None else served(), rows, options, math.inf)

    return asyncio.run(asked())


VALUE = st.one_of(
    st.sampled_from(
        [
            1,
            1.0,
            True,
            "1",
            0,
            0.0,
            -0.0,
            False,
            None,
            math.nan,
            math.inf,
            -math.inf,
            "",
            "bad",
            "\ud800",
            2**70,
            b"",
            b"1",
            "b'1'",
        ]
    ),
    st.lists(st.sampled_from(["a", "b", 1, 1.0, None]), max_size=2),
    st.text(max_size=2),
)
ROW = st.dictionaries(st.sampled_from([*INPUTS, "label"]), VALUE, max_size=3)
STEP = st.tuples(
    st.lists(ROW, max_size=5),
    st.sampled_from([None, Options(), Options(threshold=0.25), Options(style="loud")]),
    st.integers(1, 2),
    st.floats(0, 40),
)


@given(steps=st.lists(STEP, max_size=12), max_mb=st.sampled_from([0.006, 1.0]))
@settings(max_examples=100, deadline=None)
def test_answers_are_those_without_it(steps: list[Any], max_mb: float) -> None:
    now, asker = [0.0], Asker()
    held = cache(asker, max_mb, now=now)
    for rows, options, version, seconds in steps:
        of = served(version)
        found = ask(held, rows, options, of)
        assert [repr(one) for one in found] == [repr(told(of, row, options)) for row in rows]
        for answer in found:  # what a finisher adds is of one request
            answer["marked"] = True
            answer.get("tops", [{}])[0]["value"] = "changed"
        now[0] += seconds
        assert 0 <= held.num_bytes <= max_mb * 1e6
        assert bool(held.num_bytes) == bool(len(held))


def test_only_rows_that_are_not_kept_are_asked() -> None:
    asker = Asker()
    held = cache(asker)
    ask(held, [{"text": "a"}, {"text": "b"}])
    ask(held, [{"text": "c"}, {"text": "b", "label": "not read"}, {"text": "bad"}])
    ask(held, [{"text": "bad"}])
    assert [row["text"] for row in asker.rows] == ["a", "b", "c", "bad", "bad"]
    assert (held.hits, held.misses) == ({"reviews": 1}, {"reviews": 5})
    assert {one.name: one.value for one in held.figures()}["luban_cache_entries"] == 3


def test_too_old_is_asked_again() -> None:
    now, asker = [1000.0], Asker()
    held = cache(asker, ttl_s=10, now=now)
    for seconds in (0, 9.9, 0.1, 9.9):
        now[0] += seconds
        ask(held, [{"text": "a"}])
    assert len(asker.rows) == 2


def test_the_longest_unused_goes_first() -> None:
    asker = Asker()
    held = cache(asker, max_mb=0.01)
    ask(held, [{"text": "kept"}])
    for number in range(20):
        ask(held, [{"text": str(number)}])
        ask(held, [{"text": "kept"}])
    assert sum(row["text"] == "kept" for row in asker.rows) == 1
    before = len(asker.rows)
    ask(held, [{"text": "0"}])
    assert len(asker.rows) == before + 1


def test_what_is_larger_than_all_of_it_is_not_kept() -> None:
    asker = Asker()
    held = cache(asker, max_mb=0.0005)
    ask(held, [{"text": "a"}])
    assert (len(held), held.num_bytes) == (0, 0)


def test_a_bundle_with_state_and_very_many_rows_go_past_it() -> None:
    asker = Asker()
    held = cache(asker)
    for _ in range(2):
        ask(held, [{"text": "a"}], of=served(stateful=True))
        ask(held, [{"text": "b"}] * (MAX_ROWS + 1))
    assert len(asker.rows) == 2 * (MAX_ROWS + 2)
    assert not held.hits
    assert not len(held)


def test_an_error_of_the_model_is_passed_on_and_not_kept() -> None:
    asker = Asker()
    held = cache(asker)
    asker.error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        ask(held, [{"text": "a"}])
    asker.error = None
    assert ask(held, [{"text": "a"}])[0]["of"] == f"{1:064x}"


def test_questions_for_reasons_go_past_it() -> None:
    asker = Asker()
    bundle: Any = FakeBundle()
    one = Served(SimpleNamespace(name="reviews", version=1), bundle, ANY)  # type: ignore[arg-type]
    fleet: Any = SimpleNamespace(pick=lambda question: Picked(Arm("champion", one)))
    held = cache(asker)

    async def asked() -> None:
        batcher = Batcher(1, 1)
        desk = Desk(fleet, batcher, cache=held)
        for explain in (True, False, False):
            entry = Entry(ANYBODY, "reviews", "id")
            await desk.ask(Question(entry, [{"text": "a rather long one"}], explain=explain))
        batcher.close()

    asyncio.run(asked())
    assert (held.hits, held.misses) == ({"reviews": 1}, {"reviews": 1})


class TestOverHttp:
    @pytest.fixture
    def config(self) -> ServeConfig:
        return ServeConfig.model_validate({"port": 0, "poll_s": 0.02, "cache": {"max_mb": 1}})

    def test_another_version_is_asked_anew(self, client: httpx.Client, origin: HandOrigin) -> None:
        def answers() -> Any:
            body = {"rows": [{"text": "some rather long text"}, {"text": 1}, {"txt": 1}]}
            response = client.post("/v1/predict", json=body)
            assert response.status_code == 200
            return response.json()["answers"]

        def count(name: str) -> str:
            return next(line for line in client.get("/metrics").text.splitlines() if line.startswith(name))

        first = answers()
        assert [answers() for _ in range(3)] == [first] * 3
        assert count("luban_cache_hits_total") == 'luban_cache_hits_total{model="reviews"} 6.0'
        origin.version = 2
        until(lambda: client.get("/ready").json()["version"] == 2)
        assert answers() == first
        assert count("luban_cache_misses_total") == 'luban_cache_misses_total{model="reviews"} 4.0'
