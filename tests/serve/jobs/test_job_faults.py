"""Jobs in trouble: a process that is killed, a model that fails or hangs, a ledger that is locked."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from luban.bundle.bundle import NO_NUMBER, Bundle
from luban.engine.jobs import JobQueue, JobRunner
from luban.errors import StoreError
from luban.serve.config import ServeConfig
from luban.serve.jobs import job_desk
from luban.serve.jobs.job_files import KIND
from luban.serve.jobs.job_work import PredictWork
from luban.serve.learning.chance import by_id
from luban.serve.learning.records import Records
from luban.store.tables import reviews

from ..deploying import ADA, House, until
from ..tiny import TEXTS
from .working import CSV, client_of, handed_in, lines, recorded, result, worked, worker


class TestModelsThatFail:
    """In this process, where a bundle can be made to fail."""

    @pytest.fixture
    def poisoned(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        texts: set[str] = set()
        own = Bundle.predict

        def predict(bundle: Bundle, rows: Any, options: Any = None) -> Any:
            if any(row.get("text") in texts for row in rows):
                raise RuntimeError("a secret of the inside")
            return own(bundle, rows, options)

        monkeypatch.setattr(Bundle, "predict", predict)
        return texts

    def test_a_row_that_makes_it_raise_stops_no_other(self, house: House, poisoned: set[str]) -> None:
        with client_of(house) as api:
            id = handed_in(api, json={"rows": [{"text": text} for text in ("a", "poison", "b")]})
            poisoned.add("poison")
            worked(house)
            found = api.get(f"/v1/jobs/{id}/result").json()["answers"]
            assert [one.get("error") for one in found] == [None, job_desk.INSIDE, None]
            assert "secret" not in json.dumps(found)

    def test_one_version_that_raises_or_gives_no_number_costs_its_own_rows_alone(
        self, house: House, poisoned: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file, two arms; one of them fails for some rows: the others of both have their answers, in order."""
        own = Bundle.run

        def run(bundle: Bundle, arrays: Any) -> Any:
            outputs = own(bundle, arrays).copy()
            if bundle.identity == second:
                (stars,) = (
                    value[:, 0] for name, value in arrays.items() if name.startswith("stars") and value.ndim == 2
                )
                outputs[stars <= no_stars] = np.nan
            return outputs

        house.deployments.set_weights("reviews", {2: 0.5}, ADA)
        version = house.registry.resolve("reviews", 2)
        second, bundle = version.identity, Bundle.load(house.home.store.fetch(version.tree))
        encoded = bundle.encode(bundle.values([{"text": "a", "stars": 0}]).columns)
        (no_stars,) = (value[0, 0] for name, value in encoded.items() if name.startswith("stars") and value.ndim == 2)
        with client_of(house) as api:
            until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
            id = handed_in(api, content=lines(200), headers=CSV)
            poisoned |= {f"{TEXTS[number % 4]} {number}" for number in (5, 70)}
            monkeypatch.setattr(Bundle, "run", run)
            worked(house)
            rows = result(api, id)
        assert [row["text"] for row in rows] == [f"{TEXTS[number % 4]} {number}" for number in range(200)]
        assert all(bool(row["error"]) != bool(row["label"]) for row in rows), "an answer or a reason, each"
        assert {row["error"] for row in rows} == {"", NO_NUMBER, job_desk.INSIDE}
        assert [number for number, row in enumerate(rows) if row["error"] == job_desk.INSIDE] == [5, 70]
        assert {row["version"] for row in rows if row["label"]} == {"1", "2"}
        answered = {row["request_id"] for row in rows if row["label"]}
        assert {row.request_id for row in recorded(house)} == answered
        assert {row["stars"] for row in rows if row["error"] == NO_NUMBER} == {"0"}
        assert {row["version"] for row in rows if row["stars"] == "0"} == {"", "1"}

    def test_one_that_always_raises_opens_the_breaker_and_the_job_waits(
        self, house: House, poisoned: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("luban.serve.jobs.job_work.BATCH_ROWS", 10)
        with client_of(house) as api:
            id = handed_in(api, json={"rows": [{"text": "poison"}] * 30})
            poisoned.add("poison")
            work = PredictWork(house.home, ServeConfig())
            runner = JobRunner(JobQueue(house.home.ledger, backoff_s=0.01), {KIND: work})
            assert runner.run_one()
            job = api.get(f"/v1/jobs/{id}").json()
            assert (job["status"], job["attempts"]) == ("waiting", 1)
            assert "The model failed 10 times in a row." in job["error"]
            poisoned.clear()
            until(runner.run_one)
            work.close()
            assert [one["label"] for one in api.get(f"/v1/jobs/{id}/result").json()["answers"]]

    def test_a_call_that_hangs_ends_the_attempt(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        go_on = threading.Event()
        own = Bundle.predict

        def predict(bundle: Bundle, rows: Any, options: Any = None) -> Any:
            if any(row.get("text") == "hang" for row in rows):
                go_on.wait(30)
            return own(bundle, rows, options)

        with client_of(house) as api:
            id = handed_in(api, json={"rows": [{"text": "hang"}] * 20})
            monkeypatch.setattr(Bundle, "predict", predict)
            changes = {"breaker": {"call_limit_s": 0.3}, "batching": {"inline_ms": 0}}
            work = PredictWork(house.home, ServeConfig.model_validate(changes))
            runner = JobRunner(JobQueue(house.home.ledger, backoff_s=60), {KIND: work})
            runner.run(0.01, broken=lambda: work.num_hung > 0)
            go_on.set()
            assert "gave no answer in 0.3 s" in api.get(f"/v1/jobs/{id}").json()["error"]
            work.close()


def test_a_job_that_is_begun_again_records_each_row_once(house: House) -> None:
    """kill -9 in mid-job, with records, a sample for review and two arms: nothing twice, nothing lost."""
    rows = 8_000
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    learnt = {"review": {"sample": 0.05}, "jobs": {"poll_s": 0.05, "idle_s": 60}}
    with client_of(house, **learnt) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(rows), headers=CSV)
        until(lambda: len(recorded(house)) > 0, 60)
        os.kill(worker(house, id), signal.SIGKILL)
        first = {row.request_id: (row.version, row.answer) for row in recorded(house)}
        assert len(first) < rows
        until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "done", 120)
        assert api.get(f"/v1/jobs/{id}").json()["attempts"] == 2
        found = result(api, id)
    kept = {row.request_id: (row.version, row.answer) for row in recorded(house)}
    assert kept.items() >= first.items(), "the first record of a row stays"
    assert [row["request_id"] for row in found] == [f"{id}-{n}" for n in range(rows)]
    assert len(kept) == len(recorded(house)) == rows
    assert all(int(row["version"]) == kept[row["request_id"]][0] for row in found), "and it is what the file says"
    with house.home.ledger.reading() as tx:
        sampled = {row.request_id for row in tx.execute(select(reviews))}
    assert sampled == {one for one in kept if by_id("sample", one, 0) < 0.05}, "drawn once"


def test_a_ledger_that_is_locked_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job does not end before its records are there."""
    monkeypatch.setattr(job_desk, "AGAIN_S", 0.01)
    own, tries = Records._put, [0]

    def put(records: Records, batch: Any) -> None:
        tries[0] += 1
        if tries[0] < 4:
            raise StoreError("The ledger is locked.")
        own(records, batch)

    monkeypatch.setattr(Records, "_put", put)
    with client_of(house, records={"answers": False}) as api:
        id = handed_in(api, content=lines(20), headers=CSV)
        worked(house)
        assert len(result(api, id)) == len(recorded(house)) == 20
        assert tries[0] == 4


def test_one_that_waits_for_the_ledger_can_be_cancelled(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_desk, "AGAIN_S", 0.01)
    has_tried = threading.Event()

    def put(records: Records, batch: Any) -> None:
        has_tried.set()
        raise StoreError("The ledger is locked.")

    with client_of(house, records={"answers": False}) as api:
        id = handed_in(api, content=lines(20), headers=CSV)
        monkeypatch.setattr(Records, "_put", put)
        working = threading.Thread(target=worked, args=(house,))
        working.start()
        assert has_tried.wait(20)
        assert api.get(f"/v1/jobs/{id}").json()["status"] == "running"
        api.delete(f"/v1/jobs/{id}")
        until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "cancelled")
        working.join()


@pytest.mark.parametrize(("damaged", "words"), [(True, "names identity"), (False, "99")])
def test_a_version_that_cannot_be_had_ends_the_job(house: House, damaged: bool, words: str) -> None:
    number = house.release(false_identity=True) if damaged else 99
    with client_of(house) as api:
        job = JobQueue(house.home.ledger).get(handed_in(api, content=lines(5), headers=CSV))
        assert job is not None
        before = threading.active_count()
        bad = JobQueue(house.home.ledger).submit(
            KIND, {**job.request, "version": number, "plan": None}, "reviews", job.actor
        )
        worked(house)
        told = api.get(f"/v1/jobs/{bad.id}").json()
        assert (told["status"], words in told["error"]) == ("failed", True), told
        assert len(result(api, job.id)) == 5, "the job before it was done"
        until(lambda: threading.active_count() <= before)


def test_a_job_of_before_there_were_plans(house: House) -> None:
    with client_of(house) as api:
        id = handed_in(api, content=lines(5), headers=CSV)
        queue = JobQueue(house.home.ledger)
        job = queue.get(id)
        assert job is not None
        old = {name: job.request[name] for name in ("tree", "model", "version", "asked", "answered", "options")}
        again = queue.submit(KIND, old, "reviews", job.actor)
        worked(house)
        mine, theirs = result(api, id), result(api, again.id)
        assert [row["label"] for row in mine] == [row["label"] for row in theirs]


def test_settings_reach_the_process_as_they_are() -> None:
    config = ServeConfig.model_validate(
        {"explain": {"method": {"kind": "occlusion"}}, "review": {"below": 0.9}, "limits": {"rows": {"rate_per_s": 2}}}
    )
    told = json.loads(json.dumps(config.model_dump(mode="json")))
    assert ServeConfig.model_validate(told) == config
