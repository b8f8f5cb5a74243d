"""Answers are written down beside the requests: never in their way, never half, and within bounds."""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from luban.errors import StoreError
from luban.serve.fleet.routing import Arm, Picked
from luban.serve.learning import records as module
from luban.serve.learning.learning_config import RecordsConfig
from luban.serve.learning.records import Records
from luban.serve.learning.sweep import DAY_S, DISTRUST_S, EVERY_S, MOST_S, Sweep
from luban.serve.question import ANYBODY, Entry, Question, Reply
from luban.store.ledger import Ledger
from luban.store.tables import answers, feedback, reviews
from luban.tasks.base import Judgement
from waiting import until

from ..kept import ask, released, server


def reply_to(request_id: str, count: int = 1, version: int = 1, **more: Any) -> tuple[Question, Reply]:
    """A question and what was answered."""
    rows = [{"text": f"row {number}"} for number in range(count)]
    question = Question(Entry(ANYBODY, "reviews", request_id, more.pop("num_bytes", 100)), rows, sticky="li")
    picked = Picked(Arm("champion", SimpleNamespace(version=version), 0.5))  # type: ignore[arg-type]
    found = [{"label": "good", "confidence": 0.75} for _ in rows]
    return question, Reply(picked, found, 0, **more)


def nothing(model: str, answer: Any, truth: Any) -> Judgement:
    return Judgement(True, 0.0)


def kept(ledger: Ledger) -> list[Any]:
    with ledger.reading() as tx:
        return list(tx.execute(select(answers).order_by(answers.c.request_id, answers.c.position)).all())


def records(ledger: Ledger, max_open: int = 100, **config: Any) -> Records:
    """Records whose thread does not run: `write` is called by hand."""
    return Records(ledger, RecordsConfig.model_validate(config), max_open, nothing)


def test_what_is_kept_of_an_answer(ledger: Ledger) -> None:
    found = records(ledger)
    found.answered(*reply_to("one", 2))
    assert (found.num_waiting, found.num_written) == (2, 0)
    found.write()
    assert (found.num_waiting, found.num_written) == (0, 2)
    first, second = kept(ledger)
    assert (first.request_id, first.position, second.position) == ("one", 0, 1)
    assert (first.model, first.deployment, first.version, first.arm) == ("reviews", "default", 1, "champion")
    assert (json.loads(first.answer), first.confidence) == ({"label": "good", "confidence": 0.75}, 0.75)
    assert (first.row, first.share) == (None, 0.5)
    assert first.unit
    assert "li" not in first.unit


def test_rows_are_kept_only_where_that_is_said(ledger: Ledger) -> None:
    found = records(ledger, rows=True)
    found.answered(*reply_to("one"))
    found.write()
    assert [json.loads(row.row) for row in kept(ledger)] == [{"text": "row 0"}]


def test_rows_with_an_error_are_not_answers(ledger: Ledger) -> None:
    found = records(ledger)
    question, reply = reply_to("one", 2)
    reply.answers[0] = {"error": "text: is bad"}
    found.answered(question, reply)
    found.write()
    assert [row.position for row in kept(ledger)] == [1]


def test_a_request_id_that_comes_again_keeps_its_first_answer(ledger: Ledger) -> None:
    found = records(ledger)
    found.answered(*reply_to("same", version=1))
    found.answered(*reply_to("same", 2, version=2))
    found.write()
    found.answered(*reply_to("same", version=3))
    found.write()
    assert [(row.position, row.version) for row in kept(ledger)] == [(0, 1), (1, 2)]
    assert (found.num_written, found.num_repeated) == (2, 2)


def test_a_ledger_that_is_away_costs_nothing_and_is_tried_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = records(ledger)
    found.answered(*reply_to("one"))
    with monkeypatch.context() as patched:

        def locked(*_: Any) -> Any:
            raise StoreError("it is locked")

        patched.setattr(ledger, "transaction", locked)
        found.write()
        found.answered(*reply_to("two"))
        found.write()
    assert (found.num_waiting, found.num_written, found.num_dropped) == (2, 0, 0)
    found.write()
    assert (found.num_waiting, found.num_written) == (0, 2)
    assert [row.request_id for row in kept(ledger)] == ["one", "two"]


def test_beyond_the_bound_the_oldest_is_dropped_and_counted(ledger: Ledger) -> None:
    found = records(ledger, max_waiting=10, max_per_s=1000)
    for number in range(25):
        found.answered(*reply_to(f"{number:02}", 2))
    assert (found.num_waiting, found.num_dropped) == (10, 40)
    found.write()
    assert [row.request_id for row in kept(ledger)] == [f"{n:02}" for n in range(20, 25) for _ in range(2)]
    figures = {one.name: one.value for one in found.figures()}
    assert figures["luban_records_dropped_total"] == 40
    assert figures["luban_records_written_total"] == 10


def test_bytes_are_bounded_where_rows_are_kept(ledger: Ledger) -> None:
    found = records(ledger, rows=True)
    for number in range(10):
        found.answered(*reply_to(str(number), num_bytes=module.MAX_WAITING_BYTES // 4))
    assert (found.num_waiting, found.num_dropped) == (4, 6)
    unknown = records(ledger, rows=True)
    for number in range(70):
        unknown.answered(*reply_to(str(number), num_bytes=0))
    assert unknown.num_waiting <= module.MAX_WAITING_BYTES // module.UNKNOWN_BYTES


def test_of_very_many_only_some_are_written_but_all_that_are_marked(ledger: Ledger) -> None:
    found = records(ledger, max_per_s=3)
    found._clock = lambda: 1000.0
    for number in range(9):
        found.answered(*reply_to(f"{number}"))
    found.answered(*reply_to("marked", 2, marked={1: ["confidence"]}))
    assert found.num_skipped == 8
    found.write()
    assert [(row.request_id, row.position) for row in kept(ledger)] == [("0", 0), ("1", 0), ("2", 0), ("marked", 1)]
    found._clock = lambda: 900.0  # the clock was set back
    found.answered(*reply_to("later"))
    found.write()
    assert kept(ledger)[-2].request_id == "later"


def test_a_share_of_none_keeps_none(ledger: Ledger) -> None:
    for config in ({"share": 0.0}, {"answers": False}):
        found = records(ledger, **config)
        found.answered(*reply_to("one"))
        found.write()
        assert kept(ledger) == []


def test_what_cannot_be_written_holds_up_nothing(ledger: Ledger) -> None:
    found = records(ledger)
    found.answered(*reply_to("before"))
    found.answered(*reply_to("bad", version=None))  # type: ignore[arg-type]
    found.answered(*reply_to("good", 2))
    found.write()
    assert [row.request_id for row in kept(ledger)] == ["before", "good", "good"]
    assert (found.num_waiting, found.num_dropped, found.num_written) == (0, 1, 3)


def test_the_queue_of_reviews_is_bounded(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    found = records(ledger, max_open=3)
    for number in range(5):
        found.answered(*reply_to(str(number), marked={0: ["sample"]}))
    found.write()
    with ledger.reading() as tx:
        assert tx.scalar(select(func.count()).select_from(reviews)) == 3
    assert (found.num_refused_reviews, len(kept(ledger))) == (2, 5)
    found.answered(*reply_to("more", marked={0: ["sample"]}))
    found.write()
    assert found.num_refused_reviews == 3
    assert [record.message for record in caplog.records] == ["the review queue is full"]


def test_closing_writes_all_that_waits(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_S", 60.0)
    found = records(ledger, max_per_s=10_000).start()
    for number in range(2000):
        found.answered(*reply_to(str(number)))
    found.close()
    assert (found.num_written, len(kept(ledger))) == (2000, 2000)


def test_a_loop_and_a_writer_lose_nothing_between_them(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_S", 0.001)
    monkeypatch.setattr(module, "BUSY_SHARE", 1.0)
    found = records(ledger, max_waiting=50, max_per_s=1_000_000).start()
    for number in range(3000):
        found.answered(*reply_to(str(number)))
    found.close()
    assert found.num_waiting == 0
    assert found.num_written == len(kept(ledger))
    assert found.num_written + found.num_dropped == 3000


def fill(ledger: Ledger, times: list[float]) -> None:
    found = records(ledger, max_per_s=10_000)
    for number, at in enumerate(times):
        found._clock = lambda at=at: at
        found.answered(*reply_to(f"{number:03}", marked={0: ["sample"]}))
    found.write()


class TestSweep:
    now = 1_000 * DAY_S

    def sweep(self, ledger: Ledger, keep_days: float = 30, max_kept: int = 1000) -> tuple[Sweep, SimpleNamespace]:
        at = SimpleNamespace(wall=self.now, ticks=50.0)
        return Sweep(ledger, keep_days, max_kept, lambda: at.wall, lambda: at.ticks), at

    def test_the_old_goes_with_its_rows_and_truths(self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("luban.serve.learning.sweep.PIECE_ROWS", 2)
        fill(ledger, [self.now - days * DAY_S for days in (31, 31, 31, 31, 31, 29, 1)])
        from luban.serve.learning.truths import Truth, keep

        with ledger.transaction() as tx:
            keep(tx, Truth("000", 0, "good"), "reviews", ANYBODY, nothing)
            tx.execute(feedback.update().values(time=self.now - 40 * DAY_S))
        sweep, _ = self.sweep(ledger)
        assert sweep.remove() == 11
        assert [row.request_id for row in kept(ledger)] == ["005", "006"]
        with ledger.reading() as tx:
            assert tx.scalar(select(func.count()).select_from(reviews)) == 2
            assert tx.scalar(select(func.count()).select_from(feedback)) == 0

    def test_of_too_many_the_newest_stay(self, ledger: Ledger) -> None:
        fill(ledger, [self.now - number for number in range(10)])
        assert self.sweep(ledger, max_kept=4)[0].remove() == 6
        assert [row.request_id for row in kept(ledger)] == ["000", "001", "002", "003"]

    def test_a_clock_that_jumps_costs_no_record(self, ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
        fill(ledger, [self.now] * 3)
        sweep, at = self.sweep(ledger)
        at.wall += 400 * DAY_S
        with caplog.at_level("WARNING", logger="luban.serve"):
            assert sweep.remove() == 0
        for _ in range(20):
            at.wall, at.ticks = at.wall + EVERY_S, at.ticks + EVERY_S
            assert sweep.remove() == 0
        at.wall, at.ticks = at.wall - 400 * DAY_S, at.ticks + EVERY_S
        assert sweep.remove() == 0
        at.wall, at.ticks = at.wall + DISTRUST_S, at.ticks + DISTRUST_S
        assert sweep.remove() == 0
        assert len(kept(ledger)) == 3
        at.wall, at.ticks = at.wall + 40 * DAY_S, at.ticks + 40 * DAY_S
        assert sweep.remove() == 6

    def test_it_looks_now_and_then_and_survives_a_locked_ledger(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(ledger, [self.now - 40 * DAY_S])
        sweep, at = self.sweep(ledger)
        sweep.now_and_then()
        assert len(kept(ledger)) == 1
        at.wall, at.ticks = at.wall + EVERY_S, at.ticks + EVERY_S
        with monkeypatch.context() as patched:

            def locked(*_: Any) -> Any:
                raise StoreError("it is locked")

            patched.setattr(ledger, "transaction", locked)
            sweep.now_and_then()
        at.wall, at.ticks = at.wall + EVERY_S, at.ticks + EVERY_S
        sweep.now_and_then()
        assert kept(ledger) == []

    def test_much_is_removed_in_turns_so_that_records_are_written_between(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("luban.serve.learning.sweep.PIECE_ROWS", 2)
        fill(ledger, [self.now - 40 * DAY_S] * 9)
        ticks = itertools.count(0.0, 20 * MOST_S)  # each look at the clock finds the time of a turn over
        sweep = Sweep(ledger, 30, 1000, lambda: self.now, lambda: next(ticks))
        left = [9]
        for _ in range(12):
            sweep.now_and_then()
            left.append(len(kept(ledger)))
        assert max(a - b for a, b in itertools.pairwise(left)) == 2, left
        assert left[-1] == 0


def test_what_waits_keeps_no_bundle_in_memory(ledger: Ledger) -> None:
    found = records(ledger)

    class Version(SimpleNamespace):
        """What can be watched."""

    question, reply = reply_to("one")
    reply.picked = Picked(Arm("champion", Version(version=7)))  # type: ignore[arg-type]
    watched = weakref.ref(reply.picked.arm.served)
    found.answered(question, reply)
    del question, reply
    assert found.num_waiting == 1
    assert watched() is None
    found.write()
    assert [row.version for row in kept(ledger)] == [7]


def test_requests_are_answered_while_the_ledger_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("luban.store.database.BUSY_S", 0.2)
    home = released(tmp_path)
    with server(home) as client:
        holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for number in range(20):
            assert ask(client, [{"text": "很好"}], f"locked-{number:02}")["answers"][0]["label"]
        time.sleep(1.2)
        assert "luban_records_waiting 20" in client.get("/metrics").text
        holder.execute("ROLLBACK")
        holder.close()
        until(lambda: len(kept(home.ledger)) == 20)
        until(lambda: "luban_records_written_total 20" in client.get("/metrics").text)


RUN = """
import sys
from pathlib import Path
from luban.release.registry import Registry
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import AliasOrigin
from luban.serve.server import serve
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger
folder = Path(sys.argv[1])
home = Home(Store(folder / "store"), Ledger(folder / "ledger.db"))
origin = AliasOrigin("reviews", "champion", Registry(home.ledger, home.store).resolve, home.store.fetch)
serve(origin, ServeConfig(port=0), lambda address: print(address, flush=True), home=home)
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_server_that_ends_has_written(tmp_path: Path, sign: signal.Signals) -> None:
    """Told to stop, all; killed, what came a while before; and every request whole or not at all."""
    home = released(tmp_path)
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(120, process.kill)
    timer.start()
    sent: list[str] = []
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with httpx.Client(base_url=address, timeout=10) as client:

            def early_are_written() -> bool:
                """The first fifty are in the ledger, while others come."""
                sent.append(f"{len(sent):05}")
                ask(client, [{"text": "很好"}] * 3, sent[-1])
                return len(sent) > 50 and {row.request_id for row in kept(home.ledger)}.issuperset(sent[:50])

            until(early_are_written, every_s=0.01)
            process.send_signal(sign)
            process.wait(60)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    found = kept(home.ledger)
    whole: dict[str, int] = {}
    for row in found:
        whole[row.request_id] = whole.get(row.request_id, 0) + 1
    assert set(whole.values()) == {3}
    assert whole.keys() <= set(sent)
    assert whole.keys() >= set(sent if sign == signal.SIGTERM else sent[:50])
