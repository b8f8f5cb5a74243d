"""Jobs that are handed in to a real server, and then worked on here, by the handler that job processes run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from sqlalchemy import select

from luban.engine.jobs import JobQueue, JobRunner
from luban.serve.config import ServeConfig
from luban.serve.jobs.job_files import KIND
from luban.serve.jobs.job_work import PredictWork
from luban.store.process import Signature
from luban.store.tables import answers, jobs

from ..deploying import House
from ..tiny import TEXTS

CSV = {"content-type": "text/csv"}
NO_WORKERS = {"workers": 0}


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


def worker(house: House, id: str) -> int:
    with house.home.ledger.reading() as tx:
        return Signature.parse(str(tx.scalar(select(jobs.c.owner).where(jobs.c.id == id)))).pid
