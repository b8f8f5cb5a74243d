"""A version that is taken back answers no more rows of jobs: of those that wait, and of those that are under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from luban.engine.claims import Later
from luban.engine.jobs import JobQueue, JobRunner
from luban.policy.rules import Actor, Role
from luban.release.deployments import Deployments, Hold
from luban.release.rollout import CanaryRule, TestRule
from luban.serve.config import ServeConfig
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.jobs.job_desk import JobDesk
from luban.serve.jobs.job_files import KIND
from luban.serve.jobs.job_work import PredictWork
from luban.serve.learning.outcomes import Outcomes
from luban.store.tables import reviews

from ..deploying import ADA, House, until
from ..tiny import TEXTS
from .working import CSV, client_of, handed_in, lines, recorded, result, worked

CANARY = Actor("canary")


def canary(at: Deployments) -> None:
    at.start_canary("reviews", 2, CanaryRule(steps=(0.5,)), ADA)


def trial(at: Deployments) -> None:
    at.start_test("reviews", 2, TestRule(), ADA)


ENDS: dict[str, tuple[Callable[[Deployments], Any], Callable[[Deployments], Any]]] = {
    "rollback": (lambda at: at.set_weights("reviews", {2: 0.5}, ADA), lambda at: at.rollback("reviews", ADA)),
    "stop": (lambda at: at.set_weights("reviews", {2: 0.5}, ADA), lambda at: at.stop("reviews", ADA)),
    "no weight": (
        lambda at: at.set_weights("reviews", {2: 0.5}, ADA),
        lambda at: at.set_weights("reviews", {}, ADA),
    ),
    "canary": (canary, lambda at: at.stop("reviews", CANARY, "It fails.", how="rolled back")),
    "test": (trial, lambda at: at.decide(Hold(at.read("reviews")), "worse", CANARY, "It is.")),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_job_that_waits(house: House, how: str) -> None:
    begin, end = ENDS[how]
    begin(house.deployments)
    with client_of(house) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(60), headers=CSV)
        end(house.deployments)
        assert house.registry.withdrawn("reviews") == {2}
        worked(house)
        rows = result(api, id)
        assert {row["version"] for row in rows} == {"1"}
        kinds = Counter(row["request_id"] == f"{id}-{n}" for n, row in enumerate(rows))
        assert min(kinds.values()) > 10, "some were drawn for version 1 in the first place"
        assert all(row["request_id"] in (f"{id}-{n}", f"{id}-{n}-v1") for n, row in enumerate(rows))
        told = [{"request_id": row["request_id"], "truth": row["label"]} for row in rows]
        assert api.post("/v1/feedback", json={"feedback": told}).json()["joined"] == 60
    shares = {row.request_id.endswith("-v1"): row.share for row in recorded(house)}
    assert shares == {False: 0.5, True: None}, "who was given to another was not drawn: no evidence of a test"


def test_a_version_that_is_given_questions_again_has_its_rows_again(house: House) -> None:
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    with client_of(house) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(60), headers=CSV)
        house.deployments.rollback("reviews", ADA)
        house.deployments.set_weights("reviews", {2: 0.1}, ADA)
        assert not house.registry.withdrawn("reviews")
        worked(house)
        assert {row["version"] for row in result(api, id)} == {"1", "2"}


def test_a_champion_that_is_rolled_back_and_one_that_another_followed(house: House) -> None:
    """By `luban models rollback`, which knows no deployment; rows as JSON, whose result names a version for all."""
    with client_of(house) as api:
        until(lambda: api.get("/ready").json()["version"] == 1)
        followed = handed_in(api, json={"rows": [{"text": TEXTS[0]}] * 4})
        house.registry.promote("reviews", 2, ADA)
        until(lambda: api.get("/ready").json()["version"] == 2)
        back = handed_in(api, json={"rows": [{"text": TEXTS[0]}] * 4})
        assert api.get(f"/v1/jobs/{back}").json()["version"] == 2
        house.registry.promote("reviews", house.release_without("stars"), ADA)
        worked(house)
        assert [api.get(f"/v1/jobs/{id}/result").json()["version"] for id in (followed, back)] == [1, 2]
        third = handed_in(api, json={"rows": [{"text": TEXTS[0]}] * 4}, path="?version=3")
        again = JobQueue(house.home.ledger).get(back)
        assert again is not None
        back = JobQueue(house.home.ledger).submit(KIND, again.request, "reviews", again.actor).id
        house.registry.rollback("reviews", ADA)
        house.registry.rollback("reviews", ADA)
        house.registry.promote("reviews", 1, ADA)
        house.registry.promote("reviews", 2, ADA)
        house.registry.rollback("reviews", ADA)
        worked(house)
        found = api.get(f"/v1/jobs/{back}/result").json()
        job = api.get(f"/v1/jobs/{back}").json()
        assert (found["version"], job["version"]) == (1, 1)
        assert {answer["version"] for answer in found["answers"]} == {1}
        assert api.get(f"/v1/jobs/{third}/result").json()["version"] == 3, "an admin may ask any version"


def test_a_job_under_way(house: House) -> None:
    """By a real process: what version 2 answered before is in no result and no record."""
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    learnt = {"review": {"sample": 0.05}, "jobs": {"poll_s": 0.05, "idle_s": 60}}
    rows = 8_000
    with client_of(house, **learnt) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(rows), headers=CSV)
        until(lambda: {row.version for row in recorded(house)} == {1, 2})
        assert api.get(f"/v1/jobs/{id}").json()["status"] == "running", "the file is large enough to be met midway"
        house.deployments.rollback("reviews", ADA)
        until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "done")
        job, found = api.get(f"/v1/jobs/{id}").json(), result(api, id)
    assert (job["attempts"], job["counts"]) == (1, {"rows": rows, "errors": 0})
    assert {row["version"] for row in found} == {"1"}
    kept = {row.request_id: row.version for row in recorded(house)}
    assert kept == {row["request_id"]: 1 for row in found}, "each row once, as it was delivered"
    with house.home.ledger.reading() as tx:
        assert {int(row.version) for row in tx.execute(select(reviews))} == {1}


def test_what_was_said_meanwhile_stays_with_its_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt that ends midway; somebody decides a row that it left in the queue; the version is taken back."""
    monkeypatch.setattr("luban.serve.jobs.job_work.BATCH_ROWS", 10)
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    sections = {"review": {"sample": 1.0}}
    own, checks = JobDesk.check, [0]

    def check(desk: JobDesk, alive: Callable[[], None]) -> None:
        checks[0] += 1
        if checks[0] == 4:
            raise Later("Not now.")
        own(desk, alive)

    with client_of(house, **sections) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(60), headers=CSV)
        monkeypatch.setattr(JobDesk, "check", check)
        work = PredictWork(house.home, ServeConfig.model_validate(sections))
        runner = JobRunner(JobQueue(house.home.ledger, backoff_s=0.01), {KIND: work})
        assert runner.run_one()
        assert len(recorded(house)) == 30
        second = next(row.request_id for row in recorded(house) if row.version == 2)
        assert api.post(f"/v1/reviews/{second}:0/decide", json={"truth": "bad"}).status_code == 200
        house.deployments.rollback("reviews", ADA)
        until(runner.run_one)
        work.close()
        rows = result(api, id)
    assert {row["version"] for row in rows} == {"1"}
    kept = {row.request_id: row.version for row in recorded(house)}
    assert kept == {second: 2, **{row["request_id"]: 1 for row in rows}}
    (outcome,) = Outcomes(house.home.ledger).after("reviews")
    assert (outcome.request_id, outcome.version, outcome.truth) == (second, 2, "bad")


@pytest.mark.parametrize(("role", "status"), [("caller", "failed"), ("operator", "done")])
def test_a_version_that_was_named(house: House, role: Role, status: str) -> None:
    """Who may ask a version that answers nobody goes on; whoever else named it is told."""
    key, _ = Keyring(house.home.ledger).create(NewKey("shop", role), ADA)
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    with client_of(house) as api:
        api.headers["x-api-key"] = key
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, "?version=2", content=lines(5), headers=CSV)
        house.deployments.rollback("reviews", ADA)
        worked(house)
        job = api.get(f"/v1/jobs/{id}").json()
        assert job["status"] == status, job
        if status == "failed":
            assert job["error"].startswith("Version 2 was taken back after this job was handed in.")
        else:
            assert {row["version"] for row in result(api, id)} == {"2"}


def test_versions_of_other_columns(house: House) -> None:
    """The champion reads a column that the version before it does not know, and answers take its place."""
    house.registry.promote("reviews", house.release_without("stars"), ADA)
    with client_of(house) as api:
        until(lambda: api.get("/ready").json()["version"] == 3)
        id = handed_in(api, content=lines(20), headers=CSV)
        direct = {"rows": [{"text": f"{TEXTS[n % 4]} {n}", "stars": n % 5} for n in range(20)]}
        house.registry.rollback("reviews", ADA)
        until(lambda: api.get("/ready").json()["version"] == 1)
        worked(house)
        rows, asked = result(api, id), api.post("/v1/predict", json=direct).json()["answers"]
    assert [row["label"] for row in rows] == [answer["label"] for answer in asked]
    assert [float(row["confidence"]) for row in rows] == pytest.approx([answer["confidence"] for answer in asked])
