"""The store is damaged, the ledger locked, the clock jumps: who is asked goes on answering."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.roster import roster
from luban.serve.server import serving
from luban.store.home import Home
from waiting import until

from .tiny import write_tiny

ADA = Actor("ada")
PASSED = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("BEGIN EXCLUSIVE")
connection.execute("UPDATE meta SET value = value")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


class Factory:
    """A home that versions are released into, and a client of a server of its models."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home = home
        self.registry = Registry(home.ledger, home.store)
        self._folder = folder
        self.trees: dict[tuple[str, int], str] = {}

    def release(self, name: str, number: int) -> None:
        folder = self._folder / f"{name}-{number}"
        identity = write_tiny(folder, float(number), name).identity
        tree = self.trees[name, number] = self.home.store.publish(folder)
        self.registry.release(Release(name, tree, identity, PASSED), ADA)

    @contextlib.contextmanager
    def client(self, own: str = "reviews", **settings: object) -> Iterator[httpx.Client]:
        config = ServeConfig.model_validate({"port": 0, "poll_s": 0.05, **settings})
        origins = roster(own, config, self.home)
        with serving(origins, config, {}, self.home) as address, httpx.Client(base_url=address, timeout=10) as client:
            yield client


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Factory:
    for name in ("LUBAN_STORE", "LUBAN_LEDGER", "LUBAN_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    found = Factory(Home.open(tmp_path / "project"), tmp_path)
    found.release("reviews", 1)
    return found


def version(client: httpx.Client, model: str = "reviews") -> int | None:
    response = client.post(f"/v1/models/{model}/predict", json={"rows": [{"text": "很好"}]})
    assert response.status_code == 200, response.text
    found: int | None = response.json()["version"]
    return found


def refused(client: httpx.Client) -> str:
    return client.get("/ready").json()["newest_refused"] or ""


def damage(factory: Factory, number: int, change: Callable[[Path], None]) -> None:
    folder = factory.home.store.fetch(factory.trees["reviews", number])
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    change(folder)


def flip(folder: Path) -> None:
    graph = next(folder.rglob("*.onnx"))
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)


def cut(folder: Path) -> None:
    graph = next(folder.rglob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:100])


def lose(folder: Path) -> None:
    next(folder.rglob("*.onnx")).unlink()


@pytest.mark.parametrize("change", [flip, cut, lose])
def test_a_corrupt_bundle_that_is_promoted_is_refused(factory: Factory, change: Callable[[Path], None]) -> None:
    for number in (2, 3):
        factory.release("reviews", number)
    damage(factory, 2, change)
    with factory.client() as client:
        assert version(client) == 1
        factory.registry.promote("reviews", 2, ADA)
        until(lambda: "Version 2 of `reviews` is refused" in refused(client))
        assert refused(client).endswith("Version 1 stays.")
        assert version(client) == 1
        factory.registry.promote("reviews", 3, ADA)
        until(lambda: version(client) == 3)
        assert refused(client) == ""


def test_a_champion_that_is_damaged_while_idle_says_so_and_comes_back(factory: Factory) -> None:
    def state(client: httpx.Client) -> str:
        found: str = client.get("/v1/models").json()["models"][0]["state"]
        return found

    with factory.client(memory={"idle_s": 0.2}) as client:
        asked = {"rows": [{"text": "很好"}, {"stars": "many"}]}
        assert client.post("/v1/predict", json=asked).status_code == 200
        assert client.post("/v1/predict", json={**asked, "explain": True}).status_code == 200
        assert client.get("/metrics").status_code == 200
        until(lambda: state(client) == "idle")  # whatever else the server keeps of an answer holds no bundle
        folder = factory.home.store.fetch(factory.trees["reviews", 1])
        whole = next(folder.rglob("*.onnx")).read_bytes()
        damage(factory, 1, flip)
        answer = client.post("/v1/predict", json={"rows": [{"text": "很好"}]})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:luban:problem:no-model")
        assert "was changed" in answer.json()["detail"]
        next(folder.rglob("*.onnx")).write_bytes(whole)
        until(lambda: client.post("/v1/predict", json={"rows": [{"text": "很好"}]}).status_code == 200)


def test_a_ledger_that_another_process_locks_for_a_while(factory: Factory) -> None:
    factory.release("reviews", 2)
    ledger = factory.home.ledger._database.url.database or ""
    with factory.client() as client:
        assert version(client) == 1
        factory.registry.promote("reviews", 2, ADA)
        until(lambda: version(client) == 2)
        command = [sys.executable, "-c", LOCK, ledger]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"locked\n"
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                sqlite3.connect(ledger, timeout=0).execute("BEGIN IMMEDIATE")
            end = time.monotonic() + 1.0
            while time.monotonic() < end:
                assert version(client) == 2
                assert client.get("/ready").status_code == 200
        finally:
            process.communicate(b"", timeout=20)
        factory.registry.promote("reviews", 1, ADA)
        until(lambda: version(client) == 1)
        until(lambda: refused(client) == "")


def test_a_clock_that_jumps_moves_nothing(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days forward and back, again and again: alias, idle models and kept answers go by another clock."""
    factory.release("reviews", 2)
    jump, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    settings = {"memory": {"idle_s": 1000, "spare_s": 1000}, "cache": {"max_mb": 1, "ttl_s": 1000}}
    with factory.client(**settings) as client:
        assert version(client) == 1
        for number, seconds in enumerate((1e6, -1e6, 1e8, -1e8)):
            jump[0] = seconds
            factory.registry.promote("reviews", number % 2 + 1, ADA)
            until(lambda number=number: version(client) == number % 2 + 1)
            assert client.get("/v1/models").json()["models"][0]["state"] == "loaded"
        lines = client.get("/metrics").text.splitlines()
        hits = next(line for line in lines if line.startswith("luban_cache_hits_total"))
        assert float(hits.rpartition(" ")[2]) >= 3
        assert "luban_model_unloads_total 0.0" in lines
        loaded = datetime.fromisoformat(client.get("/v1/model").json()["loaded_at"])
        assert loaded.tzinfo == UTC


def test_all_models_of_the_registry_and_those_that_come_later(factory: Factory) -> None:
    factory.release("rooms", 1)
    with factory.client(models="all") as client:
        assert client.get("/ready").json()["models"] == {"reviews": "loaded", "rooms": "loaded"}
        factory.release("pools", 1)
        until(lambda: client.get("/ready").json()["models"].get("pools") == "loaded")
        assert version(client, "pools") == 1


def test_the_first_release_of_a_model_is_waited_for(factory: Factory, caplog: pytest.LogCaptureFixture) -> None:
    factory.release("rooms", 1)
    with caplog.at_level("WARNING", "luban.serve"), factory.client("pools", models=["rooms", "pools"]) as client:
        assert version(client, "rooms") == 1
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:luban:problem:no-model")
        assert "There is no released model `pools`" in ready.json()["detail"]
        (said,) = [record for record in caplog.records if record.getMessage() == "model not loaded"]
        assert "There is no released model `pools`" in said.__dict__["fields"]["reason"]
        factory.release("pools", 1)
        until(lambda: client.get("/ready").status_code == 200)
