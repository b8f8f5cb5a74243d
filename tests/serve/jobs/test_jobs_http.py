"""Jobs over HTTP: a real project's ledger, store and registry, and real processes that do them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from luban.engine.jobs import JobQueue
from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import AliasOrigin
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.jobs.job_process import forget
from luban.serve.jobs.jobs_config import JobsConfig
from luban.serve.question import Role
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger
from waiting import until

from ..conftest import FakeBundle, HandOrigin
from ..tiny import TEXTS, write_tiny

CSV = "id,text,stars\n1,房间很干净,5\n2,隔音太差,1\n3,,\n"
CSV_TYPE = {"content-type": "text/csv"}
ADDED = ("version", "request_id")
"""What an answer of a job says beside that of a request."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(Store(tmp_path / "store"), Ledger(tmp_path / "ledger.db"))
    folder = tmp_path / "bundle"
    identity = write_tiny(folder).identity
    passed = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
    Registry(made.ledger, made.store).release(
        Release("reviews", made.store.publish(folder), identity, passed), Actor("ada")
    )
    yield made
    made.ledger.close()


@pytest.fixture
def jobs_config() -> JobsConfig:
    return JobsConfig(poll_s=0.1, idle_s=60)


@pytest.fixture
def api(home: Home, jobs_config: JobsConfig) -> Iterator[httpx.Client]:
    registry = Registry(home.ledger, home.store)
    origin = AliasOrigin("reviews", "champion", registry.resolve, home.store.fetch)
    config = ServeConfig(port=0, poll_s=0.5, jobs=jobs_config)
    with serving(origin, config, {}, home) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


def ended(api: httpx.Client, id: str, status: str = "done") -> dict[str, Any]:
    job: dict[str, Any] = {}

    def has_ended() -> bool:
        job.update(api.get(f"/v1/jobs/{id}").json())
        return job["status"] in ("done", "failed", "cancelled")

    until(has_ended, "the end of a job", 120, log=lambda: str(job))
    assert job["status"] == status, job
    return job


def handed_in(response: httpx.Response) -> str:
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{response.json()['id']}"
    id: str = response.json()["id"]
    return id


def test_files_and_rows_are_answered_in_their_own_form(api: httpx.Client) -> None:
    rows = [{"text": text} for text in TEXTS] * 200 + [{"txt": "?"}, 5]
    sent = {
        "csv": api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE),
        "rows": api.post("/v1/jobs", json={"rows": rows, "options": {"threshold": 0.4}}),
        "parquet": api.post(
            "/v1/jobs?model=reviews", content=parquet(), headers={"content-type": "application/parquet"}
        ),
        "jsonl": api.post('/v1/jobs?format=jsonl&options={"threshold":0.9}', content=CSV.encode(), headers=CSV_TYPE),
    }
    ids = {name: handed_in(response) for name, response in sent.items()}
    found = {name: ended(api, id) for name, id in ids.items()}
    assert found["csv"]["counts"] == {"rows": 3, "errors": 1}
    assert found["csv"]["progress"] == 1
    assert (found["csv"]["model"], found["csv"]["version"]) == ("reviews", 1)

    result = api.get(found["csv"]["result"])
    assert result.headers["content-type"] == "text/csv"
    assert ".csv" in result.headers["content-disposition"]
    lines = result.text.splitlines()
    assert lines[0].startswith("id,text,stars,label,")
    assert [line[0] for line in lines[1:]] == ["1", "2", "3"]
    assert "every input column is missing" in lines[3]

    answered = api.get(found["rows"]["result"]).json()
    once = api.post("/v1/predict", json={"rows": rows, "options": {"threshold": 0.4}}).json()
    own = [{name: answer[name] for name in answer if name not in ADDED} for answer in answered["answers"]]
    assert own == once["answers"], "a job answers as a request does"
    assert answered["answers"][2]["request_id"] == f"{ids['rows']}-2"
    assert answered["identity"] == once["identity"]

    table = pq.read_table(io.BytesIO(api.get(found["parquet"]["result"]).content))
    assert table.column_names[:2] == ["text", "label"]
    assert {json.loads(line)["label"] for line in api.get(found["jsonl"]["result"]).text.splitlines()} == {"bad", None}
    listed = api.get("/v1/jobs?status=done").json()["jobs"]
    assert {job["id"] for job in listed} == set(ids.values())
    assert 'luban_jobs{status="done"} 4.0' in api.get("/metrics").text
    assert api.head(found["csv"]["result"]).headers["content-length"] == str(len(result.content))


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), out)
    return out.getvalue()


def test_a_file_that_cannot_be_answered_fails_with_the_reason(api: httpx.Client) -> None:
    id = handed_in(api.post("/v1/jobs", content=b"a,b\n1,2\n", headers=CSV_TYPE))
    job = ended(api, id, "failed")
    assert "must have the input columns text, stars" in job["error"]
    assert "/" not in job["error"], "no paths of the server"
    refused = api.get(f"/v1/jobs/{id}/result")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:luban:problem:not-now")
    again = api.post(f"/v1/jobs/{id}/retry").json()
    assert again["status"] in ("waiting", "running", "failed")
    ended(api, id, "failed")


class TestNobodyWorks:
    """Without processes jobs only wait."""

    @pytest.fixture
    def jobs_config(self) -> JobsConfig:
        return JobsConfig(workers=0, max_waiting=2, max_file_mb=0.001)

    def test_cancel_retry_and_room(self, api: httpx.Client, home: Home) -> None:
        first = handed_in(api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE))
        assert api.post(f"/v1/jobs/{first}/retry").status_code == 409
        assert api.delete(f"/v1/jobs/{first}").json()["status"] == "cancelled"
        assert api.delete(f"/v1/jobs/{first}").json()["status"] == "cancelled"
        assert api.post(f"/v1/jobs/{first}/retry").json()["status"] == "waiting"
        key = {**CSV_TYPE, "idempotency-key": "a"}
        second = {handed_in(api.post("/v1/jobs", content=CSV.encode(), headers=key))}
        full = api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE)
        assert (full.status_code, full.headers["retry-after"]) == (429, "10")
        api.delete(f"/v1/jobs/{first}")
        second.add(handed_in(api.post("/v1/jobs", content=CSV.encode(), headers=key)))
        assert len(second) == 1, "the same key is the same job"
        trees = kept_trees(home)
        for path, body in (("", CSV + "more,1\n"), ("?format=jsonl", CSV)):
            other = api.post(f"/v1/jobs{path}", content=body.encode(), headers=key)
            assert (other.status_code, other.json()["type"]) == (422, "urn:luban:problem:key-was-used")
        assert kept_trees(home) == trees, "what was refused is not kept"

    @pytest.mark.parametrize(
        ("path", "headers", "body", "status", "words"),
        [
            ("", {"content-type": "multipart/form-data; boundary=x"}, b"--x--", 415, "Forms (multipart) are for"),
            ("", {}, b"a", 415, "but got none"),
            ("", {**CSV_TYPE, "content-encoding": "gzip"}, b"a", 415, "must not be encoded"),
            ("?format=docx", CSV_TYPE, b"a", 400, "must be one of rows, csv"),
            ("?format=rows", CSV_TYPE, b"a", 400, "cannot be answered as application/json"),
            ("?model=none", CSV_TYPE, b"a", 404, "no model `none`"),
            ("?version=9x", CSV_TYPE, b"a", 404, "is not loaded"),
            ("?options=[]", CSV_TYPE, b"a", 400, "must be a JSON object"),
            ('?options={"threshold":7}', CSV_TYPE, b"a", 422, "less than or equal to 1"),
            ("", CSV_TYPE, b"a" * 2000, 413, "at most 1048 bytes"),
            ("", {"content-type": "application/json"}, b"{", 400, "At character"),
            ("", {"content-type": "application/json"}, b"[]", 422, "list `rows`"),
            ("", {"content-type": "application/json"}, b'{"rows": [], "x": 1}', 422, "no member `x`"),
            ("", {"content-type": "application/json"}, b'{"rows": [], "model": 1}', 422, "must be text"),
            ("", {"content-type": "application/json"}, b'{"rows": [], "options": 1}', 422, "names with values"),
        ],
    )
    def test_what_is_refused(
        self, api: httpx.Client, path: str, headers: dict[str, str], body: bytes, status: int, words: str
    ) -> None:
        response = api.post(f"/v1/jobs{path}", content=body, headers=headers)
        assert response.status_code == status, response.text
        assert words in f"{response.json()['detail']} {response.json()['todo']}"
        assert api.get("/v1/jobs").json() == {"jobs": []}

    def test_a_file_cut_short_leaves_nothing(self, api: httpx.Client, tmp_path: Path) -> None:
        head = b"POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\ncontent-length: 900\r\n\r\n"
        for _ in range(3):
            with socket.create_connection((api.base_url.host, api.base_url.port or 80)) as half:
                half.sendall(head + b"text\na")
                until(lambda: is_kept(tmp_path / "store"))
            until(lambda: not is_kept(tmp_path / "store"))
        assert api.get("/v1/jobs").json() == {"jobs": []}

    def test_what_is_not_there(self, api: httpx.Client) -> None:
        assert api.get("/v1/jobs/none").json()["type"] == "urn:luban:problem:no-such-job"
        assert api.get("/v1/jobs?status=x").status_code == 400

    def test_old_ones_go_with_their_files(self, api: httpx.Client, home: Home) -> None:
        id = handed_in(api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE))
        api.delete(f"/v1/jobs/{id}")
        queue = JobQueue(home.ledger)
        job = queue.get(id)
        assert job is not None
        assert home.store.has_tree(job.request["tree"])
        assert forget(queue, home.store, 1) == 0
        assert forget(queue, home.store, 0) == 1
        assert not home.store.has_tree(job.request["tree"])
        assert api.get(f"/v1/jobs/{id}").status_code == 404


class TestKeys:
    """A caller sees its own jobs alone, an operator all."""

    @pytest.fixture
    def jobs_config(self) -> JobsConfig:
        return JobsConfig(workers=0)

    @pytest.fixture
    def keys(self, home: Home) -> dict[str, dict[str, str]]:
        ring, ada = Keyring(home.ledger), Actor("ada")
        roles: dict[str, Role] = {"one": "caller", "two": "caller", "ops": "operator", "looker": "viewer"}
        found = {name: {"x-api-key": ring.create(NewKey(name, role), ada)[0]} for name, role in roles.items()}
        other = NewKey("other", "operator", ("another",))
        return {**found, "other": {"x-api-key": ring.create(other, ada)[0]}}

    def test_whose_they_are(self, keys: dict[str, dict[str, str]], api: httpx.Client) -> None:
        sent = {**CSV_TYPE, "idempotency-key": "same"}
        mine = {
            name: handed_in(api.post("/v1/jobs", content=CSV.encode(), headers={**sent, **keys[name]}))
            for name in ("one", "two")
        }
        assert mine["one"] != mine["two"], "whose key it is counts, too"

        def seen(name: str) -> set[str]:
            return {job["id"] for job in api.get("/v1/jobs", headers=keys[name]).json()["jobs"]}

        assert (seen("one"), seen("two")) == ({mine["one"]}, {mine["two"]})
        assert seen("ops") == set(mine.values())
        assert seen("other") == set(), "an operator of other models"
        for path, method in {"": "GET", "/result": "GET", "/retry": "POST"}.items():
            refused = api.request(method, f"/v1/jobs/{mine['one']}{path}", headers=keys["other"])
            assert refused.status_code == 404
        assert api.delete(f"/v1/jobs/{mine['one']}", headers=keys["other"]).status_code == 404
        for path in ("", "/result"):
            assert api.get(f"/v1/jobs/{mine['one']}{path}", headers=keys["two"]).status_code == 404
        assert api.delete(f"/v1/jobs/{mine['one']}", headers=keys["two"]).status_code == 404
        assert api.get("/v1/jobs", headers=keys["looker"]).status_code == 403
        assert api.get("/v1/jobs").status_code == 401
        assert api.delete(f"/v1/jobs/{mine['one']}", headers=keys["ops"]).json()["status"] == "cancelled"


def test_a_locked_ledger_costs_jobs_an_answer_and_requests_nothing(
    api: httpx.Client, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luban.serve.learning.clerk.PATIENCE_S", 0.5)
    with home.ledger.transaction():  # held by somebody who does not end
        for _ in range(3):
            assert api.post("/v1/predict", json={"rows": [{"text": TEXTS[0]}]}).status_code == 200
        refused = api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE)
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:luban:problem:no-ledger")
        assert refused.headers["retry-after"]
    handed_in(api.post("/v1/jobs", content=CSV.encode(), headers=CSV_TYPE))


def test_a_folder_has_no_jobs(client: httpx.Client, origin: HandOrigin, bundle: FakeBundle) -> None:
    refused = client.post("/v1/jobs", json={"rows": []})
    assert (refused.status_code, refused.json()["type"]) == (404, "urn:luban:problem:no-jobs")


def test_a_process_killed_in_mid_job_costs_nothing(api: httpx.Client, home: Home, tmp_path: Path) -> None:
    """kill -9 while a large file is answered: another process takes the job again, and it ends once, whole."""
    rows = 30_000
    text = "text,stars\n" + "".join(f"房间很干净 {n},{n % 5}\n" for n in range(rows))
    id = handed_in(api.post("/v1/jobs", content=text.encode(), headers=CSV_TYPE))
    until(lambda: is_half_answered(tmp_path), every_s=0.001)
    os.kill(_worker(home, id), signal.SIGKILL)
    job = ended(api, id)
    assert job["attempts"] == 2
    assert job["counts"] == {"rows": rows, "errors": 0}
    assert len(api.get(job["result"]).text.splitlines()) == rows + 1


def test_requests_are_answered_while_a_job_runs_and_it_can_be_cancelled(api: httpx.Client) -> None:
    text = "text,stars\n" + "".join(f"房间很干净 {n},{n % 5}\n" for n in range(200_000))
    id = handed_in(api.post("/v1/jobs", content=text.encode(), headers=CSV_TYPE))
    until(lambda: api.get(f"/v1/jobs/{id}").json()["status"] == "running")
    for _ in range(20):
        assert api.post("/v1/predict", json={"rows": [{"text": TEXTS[0]}]}).status_code == 200
    api.delete(f"/v1/jobs/{id}")
    assert ended(api, id, "cancelled")["result"] is None


def _worker(home: Home, id: str) -> int:
    from sqlalchemy import select

    from luban.store.process import Signature
    from luban.store.tables import jobs

    with home.ledger.reading() as tx:
        return Signature.parse(str(tx.scalar(select(jobs.c.owner).where(jobs.c.id == id)))).pid


def kept_trees(home: Home) -> set[str]:
    """Names of all trees in the store."""
    return {path.name for path in (Path(home.store.url) / "default" / "trees").iterdir()}


def is_kept(store: Path) -> bool:
    """Whether a file that was handed in lies anywhere in the store."""
    return any("input.csv" in names for _, _, names in os.walk(store))


def is_half_answered(folder: Path) -> bool:
    """Whether a file of answers has begun to grow in scratch space: an event of any machine, unlike the progress that a
    process tells once a second, when a fast one may have finished."""
    with contextlib.suppress(FileNotFoundError):  # it has just been finished and moved
        return any(path.stat().st_size for path in (folder / "store" / "default" / "tmp").rglob("*answers*"))
    return False


def test_no_process_outlives_its_server(home: Home, tmp_path: Path) -> None:
    """The server's own end is in good order; what was begun waits again and costs no attempt."""
    registry = Registry(home.ledger, home.store)
    origin = AliasOrigin("reviews", "champion", registry.resolve, home.store.fetch)
    config = ServeConfig(port=0, jobs=JobsConfig(poll_s=0.1))
    text = "text\n" + "房间很干净\n" * 200_000
    with serving(origin, config, {}, home) as address, httpx.Client(base_url=address, timeout=20) as api:
        id = handed_in(api.post("/v1/jobs", content=text.encode(), headers=CSV_TYPE))
        until(lambda: is_half_answered(tmp_path), every_s=0.001)
        pid = _worker(home, id)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    job = JobQueue(home.ledger).get(id)
    assert job is not None
    assert (job.status, job.attempts) == ("waiting", 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("luban-jobs")]


@pytest.mark.long
def test_a_server_killed_leaves_no_process_and_the_next_one_goes_on(home: Home, tmp_path: Path) -> None:
    """kill -9 of the whole server in mid-job: its worker ends by itself, and another server's finishes the job."""
    (tmp_path / "luban.yaml").write_text("name: reviews\ndata: {source: reviews.csv, target: label}\n", "utf-8")
    where = {"LUBAN_STORE": str(tmp_path / "store"), "LUBAN_LEDGER": str(tmp_path / "ledger.db")}
    luban = str(Path(sys.executable).with_name("luban"))
    command = [luban, "serve", "--project", str(tmp_path), "--port", "0", "--json", "--set", "serve.jobs.poll_s=0.1"]

    @contextlib.contextmanager
    def server() -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, env={**os.environ, **where}, stdout=pipe, stderr=none, text=True) as process:
            assert process.stdout is not None
            try:
                with httpx.Client(base_url=json.loads(process.stdout.readline())["address"], timeout=20) as api:
                    yield process, api
            finally:
                process.kill()

    with server() as (process, api):
        text = "text\n" + "".join(f"房间很干净 {n}\n" for n in range(30_000))
        id = handed_in(api.post("/v1/jobs", content=text.encode(), headers=CSV_TYPE))
        until(lambda: is_half_answered(tmp_path), every_s=0.001)
        pid = _worker(home, id)
        process.kill()
        until(lambda: is_gone(pid))
    with server() as (_, api):
        assert ended(api, id)["counts"] == {"rows": 30_000, "errors": 0}


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
    return state == "Z"  # nobody has asked for its status yet
