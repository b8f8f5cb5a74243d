"""Figures: bounded, true, in Prometheus' form, and one sum over several workers."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from luban.errors import StoreError
from luban.serve.http.problems import Problem
from luban.serve.watch.board import GONE, Board
from luban.serve.watch.figures import FIGURES, Sample
from luban.serve.watch.metrics import MAX_ARMS, MAX_VALUES, Metrics
from luban.serve.watch.scrape import merged, render
from luban.serve.watch.tally import Tally
from waiting import until

from ..command import children, served
from ..conftest import HandOrigin
from ..deploying import ADA, House
from ..tiny import write_tiny

PROMTOOL = shutil.which("promtool")
ANY: Any = None

ROWS = [{"text": "很好", "stars": 5}]


def picked(version: int = 1, arm: str = "champion") -> Any:
    served = SimpleNamespace(name="reviews", version=version, counted="label")
    return SimpleNamespace(arm=SimpleNamespace(name=arm, served=served))


def reply(answers: list[dict[str, Any]], version: int = 1) -> Any:
    errors = sum("error" in one for one in answers)
    return SimpleNamespace(answers=answers, num_errors=errors, seconds=0.002, picked=picked(version), marked=None)


def values(samples: list[Sample], name: str) -> dict[tuple[str, ...], Any]:
    return {one.labels: one.value for one in samples if one.name == name}


def test_values_beyond_the_limit_are_counted_together() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.answered(ANY, reply([{"label": f"class {number}"} for number in range(MAX_VALUES + 5)]))
    found = values(metrics.samples(), "luban_answers_total")
    assert len(found) == MAX_VALUES + 1
    assert found["reviews", "1", "champion", "(other)"] == 10


def test_arms_beyond_the_limit_are_counted_together() -> None:
    metrics = Metrics()
    for version in range(1, MAX_ARMS + 4):
        metrics.answered(ANY, reply([{}], version))
    found = values(metrics.samples(), "luban_rows_total")
    assert len(found) == MAX_ARMS + 1
    assert found["(other)", "", "(other)"] == 3


def test_confidence_that_is_no_number_does_not_spoil_the_sum() -> None:
    metrics = Metrics()
    metrics.answered(ANY, reply([{"confidence": math.nan}, {"confidence": None}, {"confidence": 0.5}]))
    found = values(metrics.samples(), "luban_answer_confidence_ratio")["reviews", "1", "champion"]
    assert (sum(found.counts), found.sum) == (1, 0.5)


def test_lists_of_values_are_counted_one_by_one() -> None:
    metrics = Metrics()
    metrics.answered(ANY, reply([{"label": ["a", "b"]}, {"label": ["a"]}, {"error": "no"}]))
    found = values(metrics.samples(), "luban_answers_total")
    assert {labels[-1]: count for labels, count in found.items()} == {"a": 2, "b": 1}


def test_rows_that_are_outside_or_marked_are_counted() -> None:
    metrics = Metrics()
    found = reply([{"outside": ["stars"]}, {"outside": []}, {"label": "a"}])
    found.marked = {2: ["confidence"]}
    metrics.answered(ANY, found)
    samples = metrics.samples()
    assert list(values(samples, "luban_rows_outside_total").values()) == [1]
    assert list(values(samples, "luban_rows_marked_total").values()) == [1]


def test_failures_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    metrics.failed(ANY, picked(), RuntimeError())
    metrics.failed(ANY, picked(), Problem("too-late", "", ""))
    found = values(metrics.samples(), "luban_model_requests_total")
    assert {labels[-1]: count for labels, count in found.items()} == {"answered": 0, "failed": 1, "late": 1}


@given(st.lists(st.floats(0, 20), max_size=50), st.lists(st.floats(0, 20), max_size=50))
def test_tallies_add_up(one: list[float], other: list[float]) -> None:
    first, second, both = Tally(), Tally(), Tally()
    for tally, numbers in ((first, one), (second, other), (both, one + other)):
        for number in numbers:
            tally.observe(number)
    added = first + second
    assert added.counts == both.counts
    assert added.sum == pytest.approx(both.sum)
    for bound, count in zip(both.bounds, both.cumulative(), strict=False):
        assert count == sum(number <= bound for number in one + other)


def test_gauges_of_workers_become_one_as_the_table_says() -> None:
    samples = [
        Sample("luban_ready", (), 1.0), Sample("luban_ready", (), 0.0),
        Sample("luban_model_stale", ("m",), 1.0), Sample("luban_model_stale", ("m",), 0.0),
        Sample("luban_workers", (), 1), Sample("luban_workers", (), 1),
    ]  # fmt: skip
    found = {one.name: one.value for one in merged(samples)}
    assert found == {"luban_ready": 0.0, "luban_model_stale": 1.0, "luban_workers": 2}


WORKER = """
import sys
from pathlib import Path
from luban.serve.watch.board import Board
from luban.serve.watch.figures import Sample
from luban.serve.watch.tally import Tally
tally = Tally((1.0,)); tally.observe(0.5)
Board(Path(sys.argv[1])).write([
    Sample("luban_problems_total", ("busy",), 7), Sample("luban_workers", (), 1),
    Sample("luban_queue_seconds", ("m",), tally),
])
print("told", flush=True)
sys.stdin.read()
"""


def test_a_killed_worker_takes_its_gauges_along_and_leaves_its_counters(tmp_path: Path) -> None:
    mine = Board(tmp_path)
    mine.write([Sample("luban_problems_total", ("busy",), 1), Sample("luban_workers", (), 1)])
    others = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == "told\n"
        before = {one.name: one.value for one in mine.read()}
        others[0].kill()
        others[0].wait()
        after = [{one.name: one.value for one in mine.read()} for _ in range(3)]
    finally:
        for other in others:
            other.kill()
            other.communicate()
    assert (before["luban_problems_total"], before["luban_workers"]) == (15, 3)
    for found in after:
        assert (found["luban_problems_total"], found["luban_workers"]) == (15, 2)
        assert found["luban_queue_seconds"] == Tally((1.0,), [2, 0], 1.0)
    assert len(list(tmp_path.glob("worker-*.json"))) == 2


class TestSlowParts:
    """Figures of the ledger are asked in a thread, and may fail or hang without costing the others."""

    @pytest.fixture(autouse=True)
    def _quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("luban.serve.watch.metrics.SLOW_S", 0.0)
        monkeypatch.setattr("luban.serve.watch.metrics.PATIENCE_S", 0.2)

    def test_one_that_hangs_delays_a_scrape_by_its_patience_alone(self) -> None:
        free = threading.Event()

        def hanging() -> list[Sample]:
            assert free.wait(20)
            return [Sample("luban_jobs", ("waiting",), 3)]

        async def run() -> tuple[str, str]:
            metrics = Metrics()
            metrics.add_slow(hanging)
            first = (await metrics.scrape(""))[0].decode()
            free.set()
            for _ in range(100):
                later = (await metrics.scrape(""))[0].decode()
                if "luban_jobs{" in later:
                    break
            return first, later

        first, later = asyncio.run(run())
        assert "luban_workers 1.0" in first
        assert "luban_jobs{" not in first
        assert 'luban_jobs{status="waiting"} 3.0' in later

    def test_one_that_fails_is_missing_and_the_log_says_why(self, caplog: pytest.LogCaptureFixture) -> None:
        def failing() -> list[Sample]:
            raise StoreError("the ledger is locked")

        metrics = Metrics()
        metrics.add_slow(failing)
        metrics.add_slow(lambda: [Sample("luban_jobs", ("waiting",), 3)])
        assert "luban_jobs{" in asyncio.run(metrics.scrape(""))[0].decode()
        assert [record.fields for record in caplog.records] == [{"reason": "the ledger is locked"}]  # type: ignore[attr-defined]


def total(text: str, name: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name}{{"))


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_any_worker_tells_the_sum_of_all_also_after_one_was_killed(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle")
    closing = {"connection": "close"}  # a connection for each request, so that both workers get some
    with (
        served("--bundle", tmp_path / "bundle", "--workers", "2") as (process, address),
        httpx.Client(base_url=address, headers=closing) as client,
    ):

        def told() -> set[float]:
            return {total(client.get("/metrics").text, "luban_rows_total") for _ in range(8)}

        for _ in range(40):
            client.post("/v1/predict", json={"rows": ROWS}).raise_for_status()
        until(lambda: told() == {40})
        victim = children(process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        seen = []

        def is_replaced() -> bool:
            try:
                text = client.get("/metrics").text
            except httpx.HTTPError:
                return False  # The victim had taken this connection.
            seen.append(total(text, "luban_rows_total"))
            return "luban_workers 2.0" in text and victim not in children(process.pid)

        until(is_replaced)
        for _ in range(10):
            client.post("/v1/predict", json={"rows": ROWS}).raise_for_status()
        until(lambda: told() == {50})
    assert set(seen) == {40}


def test_what_is_told_last_is_told_before_the_end(tmp_path: Path) -> None:
    async def run(metrics: Metrics) -> None:
        telling = asyncio.create_task(metrics.publish())
        await asyncio.sleep(0)
        metrics.problem("busy")
        telling.cancel()
        await asyncio.wait([telling])

    metrics = Metrics()
    metrics.board = Board(tmp_path)
    asyncio.run(run(metrics))
    assert values(Board(tmp_path).read(), "luban_problems_total")["busy",] == 1


def test_a_folder_that_was_cleared_away_is_made_again(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.board = Board(tmp_path / "shared")
    for _ in range(2):
        body, _ = asyncio.run(metrics.scrape(""))
        assert b"luban_workers 1.0" in body
        shutil.rmtree(tmp_path / "shared")


_STEPS = st.lists(st.tuples(st.sampled_from(["count", "die", "scrape"]), st.integers(0, 3)), max_size=40)


@given(_STEPS)
def test_sums_are_exact_and_never_go_back_whoever_dies(steps: list[tuple[str, int]]) -> None:
    """Four places for workers; whoever dies is replaced, and what it had told stays counted."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        dead: set[str] = set()
        patched.setattr("luban.serve.watch.board.is_dead", lambda signature: signature in dead)
        workers = [(Board(Path(folder)), [0]) for _ in range(4)]
        counted = 0
        for step, place in [*steps, ("scrape", 0), ("scrape", 1)]:
            board, own = workers[place]
            if step == "count":
                own[0] += place + 1
                counted += place + 1
                board.write([Sample("luban_problems_total", ("busy",), own[0]), Sample("luban_workers", (), 1)])
            elif step == "die":
                dead.add(board._signature)
                workers[place] = (Board(Path(folder)), [0])
            else:
                found = {one.name: one.value for one in board.read()}
                assert found.get("luban_problems_total", 0) == counted
                living = sum(own[0] > 0 for _, own in workers)
                assert found.get("luban_workers", 0) == living
        assert len(list(Path(folder).glob("worker-*.json"))) <= 4


def test_a_scrape_that_was_killed_in_the_midst_counts_nobody_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Board(tmp_path)
    gone.write([Sample("luban_problems_total", ("busy",), 7)])
    monkeypatch.setattr("luban.serve.watch.board.is_dead", lambda signature: True)
    mine = Board(tmp_path)
    mine.write([Sample("luban_problems_total", ("busy",), 1)])
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda *args, **kwargs: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        mine.read()
    monkeypatch.setattr(Path, "unlink", unlink)
    assert (tmp_path / GONE).exists()
    assert len(list(tmp_path.glob("worker-*.json"))) == 2
    assert [one.value for one in mine.read()] == [8]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian package prometheus)")
def test_promtool_finds_no_fault_in_a_scrape(client: httpx.Client) -> None:
    assert PROMTOOL is not None
    client.post("/v1/predict", json={"rows": [{"text": "short"}]})
    client.post("/v1/predict", json={"rows": [{"text": "explode"}]})
    text = client.get("/metrics").text
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    found = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name.removesuffix("_total") for name in FIGURES} == found.keys()
    outcomes = {one.labels["outcome"]: one.value for one in found["luban_model_requests"].samples}
    assert outcomes == {"answered": 1, "failed": 1, "late": 0}


def test_a_scraper_may_ask_for_openmetrics(client: httpx.Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    found = client.get("/metrics", headers={"accept": accept})
    assert found.headers["content-type"].startswith("application/openmetrics-text")
    assert found.text.endswith("# EOF\n")


def test_what_is_refused_shows_as_stale_and_why_requests_failed_is_counted(
    client: httpx.Client, origin: HandOrigin
) -> None:
    client.post("/v1/predict", content=b"{", headers={"content-type": "application/json"})
    origin.version = 13
    until(lambda: 'luban_model_refusals_total{model="reviews"} 1.0' in client.get("/metrics").text)
    text = client.get("/metrics").text
    assert 'luban_model_stale{model="reviews"} 1.0' in text
    assert 'luban_problems_total{kind="not-json"} 1.0' in text


def test_every_figure_is_told_where_everything_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With records, review, a cache, a shadow and truth, each name of the table has a value."""
    monkeypatch.setattr("luban.serve.watch.metrics.SLOW_S", 0.1)
    house = House(tmp_path)
    house.release()
    house.release(2.0)
    house.deployments.set_shadows("reviews", (2,), ADA)
    sections = {"cache": {"max_mb": 1}, "review": {"below": 1.0}}
    with house.server(**sections) as address, httpx.Client(base_url=address) as client:
        for number in range(3):
            asked = client.post("/v1/predict", json={"rows": ROWS}, headers={"x-request-id": f"asked-{number}"})
            assert asked.status_code == 200
            told = {"request_id": f"asked-{number}", "position": 0, "truth": "good"}
            assert client.post("/v1/feedback", json={"feedback": [told]}).status_code == 200
        missing: set[str] = set()

        def all_there() -> bool:
            text = client.get("/metrics").text
            missing.clear()
            missing.update(name for name in FIGURES if not re.search(rf"^{name}(_count)?[{{ ]", text, re.MULTILINE))
            return not missing

        try:
            until(all_there)
        except AssertionError:
            raise AssertionError(f"nobody tells {sorted(missing)}") from None


def test_labels_are_those_of_the_table() -> None:
    with pytest.raises(ValueError, match="luban_problems_total has the labels"):
        merged([Sample("luban_problems_total", (), 1)])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError):
        render([Sample("luban_new_total", (), 1)], "")
