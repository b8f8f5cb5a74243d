"""Two runs of one project at once: one works, the other says who does, or waits and finds all of it kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from sqlalchemy import update

from luban.store.tables import leases

from .conftest import Undisturbed
from .project import Tiny, check_whole, finish

VERBS = ("prepare", "train", "compress", "evaluate", "explain", "release")


def paused_run(tiny: Tiny) -> subprocess.Popen[str]:
    """A run that has the project's lease and is stopped while it prepares, for as long as the test wants."""
    process = tiny.paused_at(12, "run", "--json")
    assert tiny.ledger.runs()[0].status == "running"
    assert [event.message for event in tiny.ledger.events(tiny.ledger.runs()[0].id)] == ["started"]
    return process


def test_the_second_says_who_works(tiny: Tiny, undisturbed: Undisturbed) -> None:
    first = paused_run(tiny)
    tiny.fails("run", says=["`project:tiny` is held by", f"process {first.pid}", "since", "Wait until it has finished"])
    tiny.fails("train", "--json", says=["LeaseHeld", str(first.pid)])
    os.kill(first.pid, signal.SIGCONT)
    answer = finish(first)
    assert answer.status == 0, answer.err
    assert answer.events[-1]["version"]["identity"] == undisturbed.identity
    check_whole(tiny)
    assert [run.status for run in tiny.ledger.runs()] == ["done"], "the one that was refused began no run"


def test_the_second_waits_and_finds_all_kept(tiny: Tiny, undisturbed: Undisturbed) -> None:
    first = paused_run(tiny)
    second = tiny.start("run", "--json", "--wait-s", "120")
    assert second.stdout is not None
    assert str(first.pid) in second.stdout.readline(), "it says for whom it waits"
    os.kill(first.pid, signal.SIGCONT)
    one, two = finish(first), finish(second)
    assert (one.status, two.status) == (0, 0), one.err + two.err
    assert two.kept() == {verb: verb != "release" for verb in VERBS}
    versions = [answer.events[-1]["version"] for answer in (one, two)]
    assert [(v["number"], v["identity"]) for v in versions] == [(1, undisturbed.identity)] * 2
    assert len(tiny.versions()) == 1
    check_whole(tiny)


def test_both_at_the_same_instant(tiny: Tiny, undisturbed: Undisturbed) -> None:
    """Also where neither store nor ledger is there yet."""
    answers = [finish(one) for one in [tiny.start("run", "--json", "--wait-s", "120") for _ in range(2)]]
    assert [answer.status for answer in answers] == [0, 0], answers
    made = [[verb for verb, kept in answer.kept().items() if not kept] for answer in answers]
    assert sorted(map(len, made)) == [1, len(VERBS)], "one did all of it, the other none"
    assert {answer.events[-1]["version"]["identity"] for answer in answers} == {undisturbed.identity}
    check_whole(tiny)


def test_who_was_paused_too_long_can_no_longer_write(tiny: Tiny, undisturbed: Undisturbed) -> None:
    """A run that hangs until another has its lease ends with an error, and the other's work stands."""
    first = paused_run(tiny)
    with tiny.ledger.transaction() as tx:  # as if its time were over: 15 s are long for a test
        tx.execute(update(leases).values(expires=time.time() - 1))
    second = tiny.done("run", "--json")
    assert second.events[-1]["version"]["identity"] == undisturbed.identity
    after = tiny.results()
    os.kill(first.pid, signal.SIGCONT)
    late = finish(first)
    assert late.status == 1
    assert json.loads(late.err)["error"] == "LeaseHeld"
    assert "Nothing was written" in late.err
    assert tiny.results() == after
    assert len(tiny.versions()) == 1
    check_whole(tiny)
