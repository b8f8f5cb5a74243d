"""The queue of jobs: begun perhaps several times, ended once; on both databases; killed at any instant."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from luban.engine.jobs import Cancelled, Claim, Job, JobQueue, JobRunner
from luban.errors import DataError
from luban.store.blobs import Store
from luban.store.ledger import Ledger
from waiting import BOUND_S, until

WORKER = Path(__file__).with_name("worker.py")


@pytest.fixture
def queue(ledger: Ledger) -> JobQueue:
    return JobQueue(ledger, backoff_s=0.01)


def runner(queue: JobQueue, work: Callable[[Job, Claim], object]) -> JobRunner:
    return JobRunner(queue, {"count": work})


def status(queue: JobQueue, job: Job) -> str:
    found = queue.get(job.id)
    assert found is not None
    return found.status


def test_a_job_is_done_once_and_keeps_its_result(queue: JobQueue) -> None:
    job = queue.submit("count", {"to": 3}, "reviews", "ada")
    assert (job.status, job.request, job.actor, job.model) == ("waiting", {"to": 3}, "ada", "reviews")

    def work(job: Job, claim: Claim) -> object:
        claim.report(0.5, {"rows": 2})
        return {"sum": 6}

    assert runner(queue, work).run_one()
    assert not runner(queue, work).run_one()
    found = queue.get(job.id)
    assert found is not None
    assert (found.status, found.result, found.progress, found.counts) == ("done", {"sum": 6}, 1.0, {"rows": 2})
    assert queue.counts() == {"done": 1}
    assert queue.retry(job.id) == queue.cancel(job.id) == found, "what has ended well stays"


def test_the_oldest_comes_first_and_unknown_kinds_stay(queue: JobQueue) -> None:
    other = queue.submit("other", None)
    made = [queue.submit("count", number) for number in range(3)]
    seen: list[object] = []
    for _ in range(3):
        assert runner(queue, lambda job, claim: seen.append(job.request)).run_one()
    assert seen == [0, 1, 2]
    assert status(queue, other) == "waiting"
    assert [job.id for job in queue.newest(limit=2)] == [made[2].id, made[1].id]


def test_the_same_id_is_one_job(queue: JobQueue) -> None:
    assert queue.submit("count", 1, id="a") == queue.submit("count", 2, id="a")


def test_what_fails_is_tried_again_and_then_no_more(queue: JobQueue) -> None:
    job = queue.submit("count", None, max_attempts=2)

    def work(job: Job, claim: Claim) -> object:
        raise RuntimeError("a secret of the inside")

    trying = runner(queue, work)
    assert trying.run_one()
    assert status(queue, job) == "waiting"
    until(trying.run_one)
    found = queue.get(job.id)
    assert found is not None
    assert (found.status, found.attempts) == ("failed", 2)
    assert "secret" not in str(found.error)
    assert status(queue, queue.retry(job.id) or job) == "waiting"
    assert runner(queue, lambda job, claim: 1).run_one()
    assert status(queue, job) == "done"


def test_what_the_user_must_mend_is_not_tried_again(queue: JobQueue) -> None:
    job = queue.submit("count", None)

    def work(job: Job, claim: Claim) -> object:
        raise DataError("The file has no row.")

    assert runner(queue, work).run_one()
    found = queue.get(job.id)
    assert found is not None
    assert (found.status, found.error) == ("failed", "The file has no row.")


def test_cancelled_while_it_waits_or_runs(queue: JobQueue) -> None:
    waiting, running = queue.submit("count", 0), queue.submit("count", 1)
    assert queue.cancel(waiting.id)
    assert status(queue, waiting) == "cancelled"

    def work(job: Job, claim: Claim) -> object:
        assert queue.cancel(job.id).status == "running"  # type: ignore[union-attr]
        for _ in range(500):
            claim.report(0.1)
            time.sleep(0.02)
        raise AssertionError("nobody said that it should stop")

    assert runner(queue, work).run_one()
    assert status(queue, running) == "cancelled"
    assert queue.cancel("none") is queue.retry("none") is queue.get("none") is None


def test_who_is_too_slow_to_say_that_he_lives_loses_it(ledger: Ledger) -> None:
    queue = JobQueue(ledger, ttl_s=0.05)
    job = queue.submit("count", None)
    slow = queue.claim(["count"])
    assert slow is not None
    time.sleep(0.1)  # no `with`: it never says that it lives
    quick = queue.claim(["count"])
    assert quick is not None
    assert quick.finish("quick")
    assert not slow.finish("slow"), "the other one has ended it"
    assert not slow.fail("slow", again=True)
    found = queue.get(job.id)
    assert found is not None
    assert (found.status, found.result, found.attempts) == ("done", "quick", 2)


def test_given_back_costs_no_attempt(queue: JobQueue) -> None:
    queue.submit("count", None, max_attempts=1)
    first = queue.claim(["count"])
    assert first is not None
    assert first.give_back()
    assert queue.claim(["count"]) is not None


def test_a_runner_that_is_stopped_gives_its_job_back(queue: JobQueue) -> None:
    job = queue.submit("count", None, max_attempts=1)

    def work(job: Job, claim: Claim) -> object:
        stopping.stop.set()
        claim.report(0.5)
        raise AssertionError("it should have stopped")

    stopping = runner(queue, work)
    stopping.run()
    found = queue.get(job.id)
    assert found is not None
    assert (found.status, found.attempts, found.error) == ("waiting", 0, None)


def test_many_workers_never_share_a_job(queue: JobQueue) -> None:
    made = [queue.submit("count", number).id for number in range(20)]
    seen: list[object] = []
    lock = threading.Lock()

    def work(job: Job, claim: Claim) -> object:
        with lock:
            seen.append(job.request)
        return None

    def all_of_them() -> None:
        while runner(queue, work).run_one():
            pass

    threads = [threading.Thread(target=all_of_them) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen, key=str) == sorted(range(20), key=str)
    assert queue.counts() == {"done": len(made)}


def test_old_ones_are_forgotten(queue: JobQueue) -> None:
    done, waiting = queue.submit("count", {"blob": "x"}), queue.submit("count", None)
    runner(queue, lambda job, claim: None).run_one()
    assert queue.purge(keep_days=1) == []
    assert [job.id for job in queue.purge(keep_days=0)] == [done.id]
    assert queue.get(done.id) is None
    assert status(queue, waiting) == "waiting"


@pytest.fixture
def workers(ledger_url: str, tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), ledger_url, str(tmp_path / "store")]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def test_killed_at_any_instant_each_is_done_once(
    ledger: Ledger, workers: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Workers die by `kill -9` again and again; every job ends with the one right result."""
    queue, store = JobQueue(ledger), Store(tmp_path / "store")
    made = [queue.submit("count", {"number": number}, max_attempts=50).id for number in range(6)]
    chance = random.Random(0)
    for _ in range(3):
        worker = workers()
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
        time.sleep(chance.random() * 0.3)
        worker.kill()
        worker.wait()
    last = workers()
    until(lambda: queue.counts() == {"done": len(made)})
    last.kill()
    for number, id in enumerate(made):
        job = queue.get(id)
        assert job is not None
        assert store.read(job.result["blob"]) == f"{number}".encode() * 1000


def test_a_job_that_kills_its_process_does_not_kill_for_ever(
    ledger: Ledger, workers: Callable[[], subprocess.Popen[str]]
) -> None:
    queue = JobQueue(ledger)
    job = queue.submit("count", {"number": -1}, max_attempts=2)
    for _ in range(2):
        assert workers().wait(BOUND_S) == -9
    workers()
    until(lambda: status(queue, job) == "failed")
    found = queue.get(job.id)
    assert found is not None
    assert found.error == "The process that worked on it died, 2 times."


def test_a_cancelled_one_stays_so_when_its_owner_dies(queue: JobQueue) -> None:
    job = queue.submit("count", None)
    code = "import sys; from luban.engine.jobs import JobQueue; from luban.store.ledger import Ledger; "
    code += "assert JobQueue(Ledger(sys.argv[1])).claim(['count'])"
    url = queue.ledger._database.url.render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)
    queue.cancel(job.id)
    assert not runner(queue, lambda job, claim: 1).run_one()
    assert status(queue, job) == "cancelled"


def test_the_handler_is_told_that_it_lost_the_job(ledger: Ledger) -> None:
    queue = JobQueue(ledger, ttl_s=0.3)
    queue.submit("count", None)
    ended = []

    def work(job: Job, claim: Claim) -> object:
        from sqlalchemy import update

        from luban.store.tables import jobs

        with ledger.transaction() as tx:  # another one took it, as after a long pause of this process
            tx.execute(update(jobs).values(owner="another:1:x:y", expires=tx.clock() + 100))
        try:
            for _ in range(500):
                claim.report(0.1)
                time.sleep(0.02)
        except Cancelled:
            raise AssertionError("it was not cancelled") from None
        except BaseException as error:
            ended.append(type(error).__name__)
            raise
        return None

    assert runner(queue, work).run_one()
    assert ended == ["Lost"]


def test_cancelling_and_retrying_stand_on_the_audit_trail(queue: JobQueue) -> None:
    job = queue.submit("copy", {}, "reviews", "ada")
    queue.cancel(job.id, "bo")
    queue.cancel(job.id, "bo")  # changes nothing
    queue.retry(job.id, "eve")
    found = [(entry.actor, entry.verb, entry.object) for entry in queue.ledger.audit_entries()]
    assert found == [("eve", "retry", f"job {job.id}"), ("bo", "cancel", f"job {job.id}")]
    queue.ledger.verify_audit()


def test_without_patience_what_is_due_is_done_and_no_more_is_waited_for(queue: JobQueue) -> None:
    made = [queue.submit("count", number) for number in range(3)]
    runner(queue, lambda job, claim: job.request).run(poll_s=3600, idle_s=0)
    assert [status(queue, job) for job in made] == ["done"] * 3
