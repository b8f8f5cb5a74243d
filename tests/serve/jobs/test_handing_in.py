"""Handing jobs in: rows are counted against limits, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import resource
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.data.sources import open_path
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.http.problems import NotYet, Problem
from luban.serve.jobs.handing_in import HandingIn
from luban.serve.jobs.row_counts import num_rows
from luban.serve.question import Caller, Role

from ..deploying import ADA, House
from .working import CSV, client_of, handed_in, lines, result, worked


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


class Slow:
    """Limits that must be fetched first, `times` times."""

    counts_rows = True

    def __init__(self, times: int) -> None:
        self.left = times
        self.taken: list[int] = []

    def take_rows(self, caller: Caller, model: str, count: int) -> None:
        if self.left:
            self.left -= 1
            raise NotYet(Problem("busy", "They are being looked up.", "Ask again."), self.ready)
        self.taken.append(count)

    async def ready(self) -> None:
        """Fetched."""


@pytest.mark.parametrize(("times", "status"), [(1, 202), (9, 503)])
def test_limits_that_are_far_away_are_waited_for_once_the_body_is_read(
    house: House, monkeypatch: pytest.MonkeyPatch, times: int, status: int
) -> None:
    limits = Slow(times)
    with client_of(house) as api:
        own = HandingIn._count

        async def count(self: HandingIn, *given: Any) -> None:
            self._limits = limits  # type: ignore[assignment]
            await own(self, *given)

        monkeypatch.setattr(HandingIn, "_count", count)
        response = api.post("/v1/jobs", content=lines(7), headers=CSV)
        assert response.status_code == status, response.text
        assert limits.taken == ([7] if status == 202 else [])


def test_a_disk_that_takes_no_more_is_no_fault_inside(house: House) -> None:
    with client_of(house) as api:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, before[1]))
        try:
            refused = api.post("/v1/jobs", content=b"text\n" + b"a\n" * 2_500_000, headers=CSV)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:luban:problem:no-ledger")
        assert refused.headers["retry-after"] == "1"
        assert api.post("/v1/jobs", content=lines(3), headers=CSV).status_code == 202


def test_a_version_that_answers_nobody_takes_an_operator(house: House) -> None:
    ring = Keyring(house.home.ledger)
    roles: dict[str, Role] = {"caller": "caller", "operator": "operator"}
    keys = {role: ring.create(NewKey(role, role), ADA)[0] for role in roles}
    with client_of(house) as api:
        sent = {
            role: api.post("/v1/jobs?version=2", content=lines(3), headers={**CSV, "x-api-key": keys[role]})
            for role in keys
        }
        assert (sent["caller"].status_code, sent["operator"].status_code) == (403, 202)
        assert "takes the role operator" in sent["caller"].json()["detail"]
        worked(house)
        id = sent["operator"].json()["id"]
        found = api.get(f"/v1/jobs/{id}/result", headers={"x-api-key": keys["operator"]}).text
        assert found.splitlines()[1].split(",")[-3] == "2"


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


@pytest.mark.parametrize("data", [b'text,stars\nfoo"bar,1\n' + b"good,2\n" * 50, b"text,stars\r" + b"good,2\r" * 51])
def test_no_file_is_written_so_that_it_counts_for_less(tmp_path: Path, data: bytes) -> None:
    """A quote within a field, or line ends of old: rows that are read, and so are limited."""
    path = tmp_path / "input.csv"
    path.write_bytes(data)
    assert num_rows(path) == 51


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
