"""A job's rows take the path of questions: arms, records, truths, review, rows outside, shadows, figures, limits.

Jobs are handed in to a real server; most are then worked on here, by the handler that job processes run, some by
real processes, one of which is killed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from luban.data.sources import open_path
from luban.engine.jobs import JobQueue, JobRunner
from luban.serve.config import ServeConfig
from luban.serve.jobs import job_desk
from luban.serve.jobs.job_files import KIND
from luban.serve.jobs.job_work import PredictWork
from luban.serve.jobs.row_counts import num_rows
from luban.store.process import Signature
from luban.store.tables import answers, jobs, reviews

from ..deploying import ADA, House, until
from ..tiny import TEXTS

CSV = {"content-type": "text/csv"}
NO_WORKERS = {"workers": 0}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.release()
    made.release(bias=9.0)
    yield made
    made.home.ledger.close()


def lines(count: int) -> bytes:
    """A file of customers; each has ten rows."""
    return (
        "customer,text,stars\n" + "".join(f"c{n // 10},{TEXTS[n % 4]} {n},{n % 5}\n" for n in range(count))
    ).encode()


@contextmanager
def client_of(house: House, **sections: Any) -> Iterator[httpx.Client]:
    with house.server(**{"jobs": NO_WORKERS, **sections}) as address, httpx.Client(base_url=address, timeout=20) as api:
        yield api


def handed_in(api: httpx.Client, path: str = "", **sent: Any) -> str:
    response = api.post(f"/v1/jobs{path}", **sent)
    assert response.status_code == 202, response.text
    id: str = response.json()["id"]
    return id


def worked(house: House, **sections: Any) -> JobRunner:
    """All that waits is done here, in this process."""
    work = PredictWork(house.home, ServeConfig.model_validate(sections))
    runner = JobRunner(JobQueue(house.home.ledger, backoff_s=0.01), {KIND: work})
    try:
        while runner.run_one():
            pass
    finally:
        work.close()
    return runner


def result(api: httpx.Client, id: str) -> list[dict[str, str]]:
    job = api.get(f"/v1/jobs/{id}").json()
    assert job["status"] == "done", job
    return list(csv.DictReader(io.StringIO(api.get(job["result"]).text)))


def recorded(house: House) -> list[Any]:
    with house.home.ledger.reading() as tx:
        return list(tx.execute(select(answers).order_by(answers.c.request_id)))


def test_rows_are_shared_out_as_questions_are(house: House) -> None:
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    with client_of(house) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        drawn, sticky = handed_in(api, content=lines(400), headers=CSV), "?sticky=customer"
        kept = handed_in(api, sticky, content=lines(400), headers=CSV)
        one = handed_in(api, content=lines(50), headers={**CSV, "x-sticky-key": "c7"})
        named = handed_in(api, "?version=2", content=lines(20), headers=CSV)
        house.deployments.rollback("reviews", ADA)
        worked(house)
        versions = Counter(row["version"] for row in result(api, drawn))
        assert versions.total() == 400
        assert 140 < versions["2"] < 260, "who shared the rows when the job was handed in"
        by_customer: dict[str, set[str]] = {}
        for row in result(api, kept):
            by_customer.setdefault(row["customer"], set()).add(row["version"])
        assert {len(found) for found in by_customer.values()} == {1}
        assert {version for found in by_customer.values() for version in found} == {"1", "2"}
        assert {row["version"] for row in result(api, one)} == by_customer["c7"], "a request's key says the same"
        assert {row["version"] for row in result(api, named)} == {"2"}
    arms = {(row.version, row.share) for row in recorded(house) if not row.request_id.startswith(named)}
    assert arms == {(1, 0.5), (2, 0.5)}, "as evidence of a test counts them"
    assert {row.share for row in recorded(house) if row.request_id.startswith(named)} == {None}
    units = {row.unit for row in recorded(house) if row.request_id.startswith(kept)}
    assert len(units) == 40, "a customer is one, however many rows it has"


def test_truths_find_rows_and_the_unsure_are_reviewed(house: House) -> None:
    review = {"review": {"below": 0.99}, "records": {"rows": True}}
    with client_of(house, **review) as api:
        id = handed_in(api, content=lines(30) + b"c9,,\n", headers=CSV)
        worked(house, **review)
        found = result(api, id)
        assert [row["request_id"] for row in found] == [f"{id}-{n}" for n in range(30)] + [""]
        assert list(found[0])[-5:] == ["review", "review_because", "version", "request_id", "error"]
        assert {(row["review"], row["review_because"]) for row in found[:30]} == {("true", "confidence")}
        told = [{"request_id": row["request_id"], "truth": row["label"]} for row in found[:30]]
        said = api.post("/v1/feedback", json={"feedback": told}).json()
        assert said["joined"] == 30, "all are recorded once the job is done"
        listed = api.get("/v1/reviews?limit=100").json()["reviews"]
        assert {one["id"] for one in listed} == {f"{id}-{n}:0" for n in range(30)}
        assert json.loads(recorded(house)[0].row)["text"].startswith(TEXTS[0])
        (first,) = [row for row in recorded(house) if row.request_id == f"{id}-0"]
        assert not {"version", "request_id"} & json.loads(first.answer).keys(), "the model's own answer is recorded"


def test_rows_outside_get_an_error_and_the_job_goes_on(house: House) -> None:
    """These versions do not say what they were trained on, so `refuse` refuses all, and `mark` marks none."""
    with client_of(house) as api:
        refused = handed_in(api, json={"rows": [{"text": TEXTS[0]}, {"txt": 1}]})
        worked(house, rows={"outside": "refuse"})
        found = api.get(f"/v1/jobs/{refused}/result").json()["answers"]
        assert "does not say what it was trained on" in found[0]["error"]
        assert "no column `txt`" in found[1]["error"]
        marked = handed_in(api, content=lines(3) + b"c," + b"a" * 200 + b",1\n", headers=CSV)
        worked(house, rows={"outside": "mark", "max_cell_bytes": 100})
        rows = result(api, marked)
        assert [row["outside"] for row in rows] == [""] * 4
        assert "more than the 100 that are allowed" in rows[3]["error"]
        assert [bool(row["label"]) for row in rows] == [True, True, True, False]


def test_shadows_and_figures(house: House) -> None:
    house.deployments.set_shadows("reviews", (2,), ADA)
    with client_of(house, jobs={"poll_s": 0.05, "idle_s": 60}) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(100), headers=CSV)
        until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "done")
        arm = 'arm="champion",model="reviews"'

        def figure(line: str) -> bool:
            return line in api.get("/metrics").text

        until(lambda: figure(f'luban_rows_total{{{arm},version="1"}} 100.0'))
        assert figure("luban_records_written_total 100.0")
        assert not figure(f'luban_model_requests_total{{{arm},outcome="answered",version="1"}} 100.0'), "nobody waited"

        def shadow() -> dict[str, Any]:
            found: dict[str, Any] = api.get("/v1/deployments/reviews").json()["shadows"][0]
            return found

        until(lambda: shadow()["asked"] + shadow()["dropped"] == 100)
        api.post("/v1/predict", json={"rows": [{"text": TEXTS[0]}]})
        until(lambda: figure(f'luban_rows_total{{{arm},version="1"}} 101.0'))


class TestLimits:
    """Rows of a job are counted when it is handed in, from the same bucket as those of requests."""

    LIMITS = {"limits": {"rows": {"rate_per_s": 0.01, "burst": 50}}}

    def test_rows_are_counted(self, house: House) -> None:
        with client_of(house, **self.LIMITS) as api:
            large = api.post("/v1/jobs", content=lines(51), headers=CSV)
            assert (large.status_code, large.json()["type"]) == (413, "urn:luban:problem:too-many-rows")
            assert "At most 50 rows may be asked at once, but got 51." in large.json()["detail"]
            once = {**CSV, "idempotency-key": "a"}
            id = handed_in(api, content=lines(40), headers=once)
            assert handed_in(api, content=lines(40), headers=once) == id, "handed in again, and counted once"
            more = api.post("/v1/jobs", json={"rows": [{"text": "a"}] * 11})
            assert (more.status_code, more.json()["type"]) == (429, "urn:luban:problem:too-many-requests")
            assert int(more.headers["retry-after"]) > 0
            asked = api.post("/v1/predict", json={"rows": [{"text": "a"}] * 11})
            assert asked.status_code == 429
            assert api.post("/v1/predict", json={"rows": [{"text": "a"}] * 10}).status_code == 200
            assert len(api.get("/v1/jobs").json()["jobs"]) == 1

    def test_a_job_that_runs_is_not_limited_again(self, house: House) -> None:
        with client_of(house, **self.LIMITS) as api:
            id = handed_in(api, content=lines(50), headers=CSV)
            worked(house, **self.LIMITS)
            assert len([row for row in result(api, id) if row["label"]]) == 50


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("", {"rows": [], "explain": True}, "A job gives no reasons"),
        ("?explain=true", {"rows": []}, "A job gives no reasons"),
        ("", {"rows": [], "sticky": 1}, "`sticky` must be text"),
        ("", {"rows": [], "version": 99}, "99"),
    ],
)
def test_what_is_refused(house: House, path: str, body: dict[str, Any], words: str) -> None:
    with client_of(house) as api:
        refused = api.post(f"/v1/jobs{path}", json=body)
        assert 400 <= refused.status_code < 500
        assert words in refused.json()["detail"]
        assert api.get("/v1/jobs").json()["jobs"] == []


def test_a_sticky_column_must_be_there(house: House) -> None:
    with client_of(house) as api:
        id = handed_in(api, "?sticky=shop", content=lines(3), headers=CSV)
        rows = [{"text": TEXTS[0], "shop": "a"}, {"text": TEXTS[1]}, 3]
        other = handed_in(api, json={"rows": rows, "sticky": "shop"})
        worked(house)
        job = api.get(f"/v1/jobs/{id}").json()
        assert (job["status"], "`sticky` must be a column of the file, but got shop" in job["error"]) == (
            "failed",
            True,
        )
        found = api.get(f"/v1/jobs/{other}/result").json()["answers"]
        assert ["label" in one for one in found] == [True, True, False]


class TestModelsThatFail:
    """In this process, where a bundle can be made to fail."""

    @pytest.fixture
    def poisoned(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        from luban.bundle.bundle import Bundle

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

    def test_one_that_always_raises_opens_the_breaker_and_the_job_waits(
        self, house: House, poisoned: set[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("luban.serve.jobs.job_work.BATCH_ROWS", 10)
        with client_of(house) as api:
            id = handed_in(api, json={"rows": [{"text": "poison"}] * 30})
            poisoned.add("poison")
            work = PredictWork(house.home, ServeConfig())
            queue = JobQueue(house.home.ledger, backoff_s=60)
            assert JobRunner(queue, {KIND: work}).run_one()
            work.close()
            job = api.get(f"/v1/jobs/{id}").json()
            assert (job["status"], job["attempts"]) == ("waiting", 1)
            assert "The model failed 10 times in a row." in job["error"]

    def test_a_call_that_hangs_ends_the_attempt(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        import threading

        from luban.bundle.bundle import Bundle

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


def test_a_job_that_is_begun_again_records_each_row_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 in mid-job, with records, a sample for review and two arms: nothing twice, nothing lost."""
    rows = 12_000
    house.deployments.set_weights("reviews", {2: 0.5}, ADA)
    learnt = {"review": {"sample": 0.05}, "jobs": {"poll_s": 0.05, "idle_s": 60}}
    with client_of(house, **learnt) as api:
        until(lambda: len(api.get("/v1/models/reviews").json()["versions"]) == 2)
        id = handed_in(api, content=lines(rows), headers=CSV)
        until(lambda: len(recorded(house)) > 0, 60)
        first = {row.request_id: (row.version, row.answer) for row in recorded(house)}
        os.kill(worker(house, id), signal.SIGKILL)
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
    assert 0.03 * rows < len(sampled) < 0.07 * rows, "drawn once"


def worker(house: House, id: str) -> int:
    with house.home.ledger.reading() as tx:
        return Signature.parse(str(tx.scalar(select(jobs.c.owner).where(jobs.c.id == id)))).pid


def test_a_ledger_that_is_locked_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job does not end before its records are there; cancelled meanwhile, it is."""
    from luban.errors import StoreError
    from luban.serve.learning.records import Records

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


@given(st.lists(st.tuples(st.text('ab\n",;é ', max_size=6), st.text('x\n"', max_size=4)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_rows_are_counted_as_they_are_read(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("counted")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("text", "more"), *cells])
    (folder / "input.csv").write_text(text.getvalue(), "utf-8", newline="")
    pq.write_table(pa.table({"text": [a for a, _ in cells]}), folder / "input.parquet")
    (folder / "input.jsonl").write_text("".join(json.dumps({"text": a}) + "\n" for a, _ in cells), "utf-8")
    (folder / "input.json").write_text(json.dumps({"rows": [a for a, _ in cells]}), "utf-8")
    for path in folder.iterdir():
        assert num_rows(path) == len(cells), path.name
    read = sum(batch.rows.num_rows + len(batch.rejects) for batch in open_path(str(folder / "input.csv")).read())
    assert read == len(cells)
