"""What shadows and counts may hold while they wait, and that neither holds up a server that stops."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from luban.serve.question import ANYBODY, Entry, Question, Reply
from luban.serve.traffic import counting, shadows
from luban.serve.traffic.counting import Writer
from luban.serve.traffic.counts import Place
from luban.serve.traffic.shadows import MAX_WAITING_BYTES, Shadows
from waiting import BOUND_S, until

from ..kept import released


class Hanging:
    """A shadow that is asked and does not answer before it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.let_go = threading.Event(), threading.Event()
        monkeypatch.setattr(shadows, "ask", self._ask)

    def _ask(self, served: Any, question: Question) -> list[Any]:
        self.asked.set()
        self.let_go.wait(BOUND_S)
        return []


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Hanging:
    return Hanging(monkeypatch)


def send(to: Shadows, num_bytes: int = 100) -> None:
    served = SimpleNamespace(version=2, name="reviews", bundle=SimpleNamespace(columns={"label": "string"}))
    picked: Any = SimpleNamespace(shadows=(SimpleNamespace(name="shadow", served=served),), revision=1)
    to.answered(Question(Entry(ANYBODY, "reviews", "1", num_bytes), []), Reply(picked, [], 0))


def told(of: Shadows) -> dict[str, Any]:
    (found,) = of.rows().values()
    return dict(found["shadow"])


def test_a_shadow_that_hangs_does_not_keep_a_server_from_stopping(
    hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadows, "STOP_S", 0.05)
    found = Shadows(8)
    send(found)
    assert hanging.asked.wait(BOUND_S)
    found.stop()
    assert found._thread is not None
    assert found._thread.is_alive(), "it hangs on, alone"
    hanging.let_go.set()
    found._thread.join(BOUND_S)


def test_what_waits_for_a_shadow_is_bounded_in_bytes(hanging: Hanging) -> None:
    found = Shadows(1000)
    for _ in range(10):
        send(found, MAX_WAITING_BYTES // 4)
    assert told(found)["dropped"] == 6
    hanging.let_go.set()
    until(lambda: told(found)["asked"] == 4 and found._went_bytes == found._came_bytes)
    send(found, MAX_WAITING_BYTES // 4)
    until(lambda: told(found)["asked"] == 5)
    assert told(found)["dropped"] == 6
    found.stop()


def test_a_comparison_that_raises_does_not_end_the_shadow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows, "ask", lambda served, question: [{"label": "more answers than rows"}])
    found = Shadows(8)
    for _ in range(2):
        send(found)
    until(lambda: told(found)["failed"] == 2)
    found.stop()


def test_a_ledger_that_is_locked_does_not_keep_a_server_from_stopping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(counting, "STOP_S", 0.05)
    home, came = released(tmp_path), threading.Event()

    def some() -> dict[Place, dict[str, Any]]:
        came.set()
        return {Place("reviews", "default", 1, 1): {"requests": 1}}

    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = Writer(home.ledger, "server", 0.01, [some])
        writer.start()
        assert came.wait(BOUND_S)
        writer.stop()
        assert writer._thread.is_alive(), "it waits on, alone"
        assert any(record.message == "counts lost" for record in caplog.records)
        other.execute("ROLLBACK")
    writer._thread.join(BOUND_S)
    home.ledger.close()
