"""The client against real servers: Luban's own, and ones that refuse, hang up or lose what they were asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from luban.client import Client, FeedbackItem, JobFailed, Refused, Unreachable
from luban.errors import ConfigError, DataError
from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import AliasOrigin
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger
from ports import free_port

KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of a project whose champion is a small real bundle."""
    from serve.tiny import write_tiny

    folder = tmp_path_factory.mktemp("project")
    home = Home(Store(folder / "store"), Ledger(folder / "ledger.db"))
    identity = write_tiny(folder / "bundle").identity
    registry = Registry(home.ledger, home.store)
    passed = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
    registry.release(Release("reviews", home.store.publish(folder / "bundle"), identity, passed), Actor("ada"))
    origin = AliasOrigin("reviews", "champion", registry.resolve, home.store.fetch)
    config = ServeConfig.model_validate({"port": 0, "jobs": {"poll_s": 0.1, "max_file_mb": 5}})
    with serving(origin, config, {"LUBAN_API_KEY": KEY}, home) as found:
        yield found
    home.ledger.close()


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address, KEY, timeout_s=20) as made:
        yield made


def test_it_asks_and_learns_what_answers(client: Client) -> None:
    assert client.is_ready()
    found = client.predict([{"text": "房间很干净"}, {"txt": 1}], {"threshold": 0.4}, sticky="ada", request_id="a-1")
    assert (found.model, found.version, found.request_id, len(found)) == ("reviews", 1, "a-1", 2)
    assert found[0]["label"] in ("good", "bad")
    assert found.num_errors == 1
    assert "did you mean `text`" in found.answers[1]["error"]
    assert client.predict([{"text": "房间很干净"}], model="reviews")[0]["label"] == found[0]["label"]
    assert client.model()["identity"] == client.model("reviews")["identity"] == found.identity


def test_what_is_refused_says_why(client: Client, address: str) -> None:
    with pytest.raises(Refused, match="no model `none`") as caught:
        client.predict([], model="none")
    assert (caught.value.status, caught.value.kind) == (404, "no-such-model")
    with pytest.raises(Refused) as caught, Client(address, "another-key-of-mine") as stranger:
        stranger.predict([])
    assert (caught.value.status, caught.value.kind) == (401, "no-key")
    with pytest.raises(ValueError, match="JSON"):
        client.predict([{"stars": float("nan")}])
    with pytest.raises(ConfigError):
        Client("127.0.0.1:8000")


def test_one_connection_is_kept_a_thread(client: Client) -> None:
    def ask(_: int) -> object:
        return client.predict([{"text": "很好"}])[0]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(40)))
    assert all(one == found[0] for one in found)
    assert len(client._wire._all) <= 4


def test_feedback_has_a_result_an_item(client: Client) -> None:
    request_id = client.predict([{"text": "很好"}]).request_id
    found = client.feedback([FeedbackItem(request_id, 0, "good", {"revenue": 2.5}), FeedbackItem("no id!", 0, "good")])
    assert [one.state for one in found][1] == "refused"
    assert found[0].state in ("joined", "pending")
    assert found[1].reason


def test_jobs_of_files_and_rows(client: Client, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,text\n1,很好\n2,太差\n", "utf-8")
    job = client.jobs.submit(tmp_path / "in.csv", {"threshold": 0.4}, format="jsonl")
    seen: list[float] = []
    assert client.jobs.wait(job.id, 60, 0.05, lambda now: seen.append(now.progress)).status == "done"
    lines = client.jobs.save(job.id, tmp_path / "out.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["1", "2"]
    assert not list(tmp_path.glob(".out*"))
    rows = [{"text": "很好"}, {"text": None}]
    job = client.jobs.submit([{**row, "shop": "a"} for row in rows], sticky="shop")
    client.jobs.wait(job.id, 60, 0.05)
    first, second = client.jobs.answers(job.id)
    added = {"version": 1, "request_id": f"{job.id}-0"}
    assert first == {**client.predict(rows)[0], **added}
    assert list(second) == ["error"]
    (told,) = client.feedback([FeedbackItem(str(first["request_id"]), 0, truth="good")])
    assert told.state == "joined"
    assert job.id in {one.id for one in client.jobs.list("done")}


def test_jobs_that_fail_or_are_too_large(client: Client, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n", "utf-8")
    job = client.jobs.submit(tmp_path / "in.csv")
    with pytest.raises(JobFailed, match="must have the input columns"):
        client.jobs.wait(job.id, 60, 0.05)
    with pytest.raises(Refused, match="The job is failed"):
        client.jobs.save(job.id, tmp_path / "out.csv")
    assert not list(tmp_path.glob("*out*"))
    assert client.jobs.retry(job.id).id == job.id
    assert client.jobs.cancel(job.id).id == job.id
    with pytest.raises(DataError, match="must end in one of"):
        client.jobs.submit(tmp_path / "in.docx")
    (tmp_path / "large.csv").write_bytes(b"text\n" + b"a\n" * 4_000_000)
    with pytest.raises(Refused) as caught:
        client.jobs.submit(tmp_path / "large.csv")
    assert caught.value.kind == "too-large"


Answering = Callable[[BaseHTTPRequestHandler, int], None]


@pytest.fixture
def fake() -> Iterator[Callable[[Answering], tuple[str, list[str]]]]:
    """Servers that answer as a test says; they tell which requests they saw."""
    made: list[ThreadingHTTPServer] = []

    def start(answering: Answering) -> tuple[str, list[str]]:
        seen: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                seen.append(self.headers.get("x-timeout-ms", ""))
                answering(self, len(seen))

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        made.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}", seen

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: object, **headers: str) -> None:
    data = json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"content-length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


GOOD = {"answers": [], "model": "m", "version": 1, "identity": "i", "request_id": "r", "note": "more"}


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_not_taken_is_sent_again(fake: Callable[..., tuple[str, list[str]]], status: int) -> None:
    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number < 3:
            answer(handler, status, {"detail": "Later."}, retry_after="0")
        else:
            answer(handler, 200, GOOD)

    url, seen = fake(answering)
    with Client(url) as client:
        assert client.predict([]).more == {"note": "more"}
    assert len(seen) == 3
    assert all(0 < float(left) <= 30_000 for left in seen), "the server is told how much time is left"


def test_tries_end(fake: Callable[..., tuple[str, list[str]]]) -> None:
    url, seen = fake(lambda handler, number: answer(handler, 503, {"detail": "Later."}, retry_after="0"))
    with Client(url, retries=2) as client, pytest.raises(Refused, match="Later"):
        client.predict([])
    assert len(seen) == 3
    url, seen = fake(lambda handler, number: answer(handler, 503, {}, retry_after="60"))
    with Client(url, timeout_s=5) as client, pytest.raises(Refused):
        client.predict([])
    assert len(seen) == 1, "who must wait longer than there is time is told at once"
    url, seen = fake(lambda handler, number: answer(handler, 500, {"detail": "Inside."}))
    with Client(url) as client, pytest.raises(Refused):
        client.predict([])
    assert len(seen) == 1, "what failed is not sent again"


def test_a_lost_answer_is_asked_for_again_only_where_that_does_no_harm(
    fake: Callable[..., tuple[str, list[str]]],
) -> None:
    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        if number % 2:
            handler.close_connection = True  # nothing is said
        else:
            answer(handler, 200, GOOD)

    url, seen = fake(answering)
    with Client(url) as client:
        client.predict([])
        assert len(seen) == 2
        with pytest.raises(Unreachable):
            client.feedback([FeedbackItem("r")])
        assert len(seen) == 3


def test_a_connection_that_the_server_closed_is_no_error(fake: Callable[..., tuple[str, list[str]]]) -> None:
    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        answer(handler, 200, GOOD)  # it says keep-alive, and hangs up nevertheless
        handler.close_connection = True

    url, seen = fake(answering)
    with Client(url, retries=0) as client:
        for _ in range(3):
            client.predict([])
    assert len(seen) == 3


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, timeout_s=0.5) as client:
        assert not client.is_ready()
        with pytest.raises(Unreachable, match="No answer from 127"):
            client.predict([])


def test_a_server_that_hangs_costs_no_more_than_the_time(fake: Callable[..., tuple[str, list[str]]]) -> None:
    let_go = threading.Event()
    url, _ = fake(lambda handler, number: (let_go.wait(10), None)[1])
    try:
        with Client(url, timeout_s=0.3) as client, pytest.raises(Unreachable):
            client.predict([])
    finally:
        let_go.set()
