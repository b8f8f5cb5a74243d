"""Several models in one server: listed, asked by name and version, unloaded when idle, loaded by who asks."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from luban.cli.serve import serve as serve_command
from luban.errors import BundleError, ConfigError, ServeError
from luban.policy.rules import Actor
from luban.serve.config import ServeConfig
from luban.serve.fleet.fleet import Fleet, Origins
from luban.serve.fleet.origins import FolderOrigin, Lineup, Plan, PlannedArm
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.server import serving
from luban.store.home import Home
from waiting import until

from ..conftest import FakeBundle
from ..tiny import write_tiny
from .test_memory import Versions

TEXT = {"rows": [{"text": "some text"}]}


class Loads:
    """Counts loads, and lets a test hold those of one model up."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.slow: str | None = None
        self.go_on = threading.Event()

    def __call__(self, folder: Path, num_threads: int = 1) -> FakeBundle:
        self.names.append(folder.name)
        if self.slow is not None and folder.name.startswith(self.slow):
            assert self.go_on.wait(20)
        if folder.name.endswith("-9"):
            raise BundleError("`model.onnx` was changed.")
        bundle = FakeBundle(folder.name.ljust(64, "0"))
        bundle.manifest.name = folder.name.partition("-")[0]
        return bundle


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    found = Loads()
    monkeypatch.setattr("luban.serve.fleet.live._load", found)
    return found


@pytest.fixture
def origins() -> tuple[Versions, ...]:
    return Versions("hotels"), Versions("rooms")


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def client(loads: Loads, origins: tuple[Versions, ...], settings: dict[str, Any]) -> Iterator[httpx.Client]:
    config = ServeConfig.model_validate({"port": 0, "poll_s": 0.02, **settings})
    with serving(Origins(origins), config, {}) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


def state(client: httpx.Client, model: str) -> dict[str, Any]:
    listed = client.get("/v1/models").json()["models"]
    return next(one for one in listed if one["model"] == model)


def figure(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])


def test_models_are_listed_and_asked_by_name(client: httpx.Client) -> None:
    listed = client.get("/v1/models").json()["models"]
    assert [(one["model"], one["state"], one["version"]) for one in listed] == [
        ("hotels", "loaded", 1),
        ("rooms", "loaded", 1),
    ]
    assert client.post("/v1/predict", json=TEXT).json()["model"] == "hotels"
    assert client.post("/v1/models/rooms/predict", json=TEXT).json()["model"] == "rooms"
    facts = client.get("/v1/models/rooms").json()
    assert (facts["model"], facts["owner"], facts["state"]) == ("rooms", "team", "loaded")
    for path in ("/v1/models/room/predict", "/v1/models/room/versions/1/predict"):
        refused = client.post(path, json=TEXT)
        assert (refused.status_code, refused.json()["type"]) == (404, "urn:luban:problem:no-such-model")
    assert client.get("/v1/models/room").status_code == 404
    ready = client.get("/ready").json()
    assert (ready["model"], ready["models"]) == ("hotels", {"hotels": "loaded", "rooms": "loaded"})
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/models", "/v1/models/{model}", "/v1/models/{model}/versions/{version}/predict"} <= set(paths)


def test_a_key_sees_its_models_alone(loads: Loads, origins: tuple[Versions, ...], tmp_path: Path) -> None:
    """Facts, descriptions with real rows as examples, and the page: of no model that it may not ask."""
    home = Home.open(tmp_path)
    key, _ = Keyring(home.ledger).create(NewKey("app", models=("rooms",)), Actor("ada"))
    config = ServeConfig(port=0, poll_s=0.02)
    with serving(Origins(origins), config, {}, home) as address:
        client = httpx.Client(base_url=address, timeout=20, headers={"x-api-key": key})
        assert [one["model"] for one in client.get("/v1/models").json()["models"]] == ["rooms"]
        for path in ("/v1/models/hotels", "/v1/model", "/openapi.json?model=hotels", "/v1/deployments/hotels"):
            assert client.get(path).status_code == 403, path
        described = client.get("/openapi.json")
        assert described.json()["info"]["title"] == "rooms"
        assert "hotels" not in described.text
        assert "hotels" not in client.get("/").text
        for path in (
            "/v1/predict",
            "/v1/models/hotels/predict",
            "/v1/models/hotels/feedback",
            "/v2/models/hotels/infer",
        ):
            assert client.post(path, json=TEXT).status_code == 403, path
    home.ledger.close()


def test_a_version_by_its_number(client: httpx.Client, loads: Loads) -> None:
    def ask(version: str) -> httpx.Response:
        return client.post(f"/v1/models/rooms/versions/{version}/predict", json=TEXT)

    with ThreadPoolExecutor(8) as pool:
        found = [one.json() for one in pool.map(ask, ["2"] * 16)]
    assert {(one["model"], one["version"], one["identity"][:7]) for one in found} == {("rooms", 2, "rooms-2")}
    assert loads.names.count("rooms-2") == 1
    assert client.post("/v1/models/rooms/predict", json=TEXT).json()["version"] == 1
    assert ask("1").json()["version"] == 1
    spare = state(client, "rooms")["versions"][1]
    assert (spare["version"], spare["arm"], spare["weight"]) == (2, "", None)
    for wrong in ("99", "x", "-1", "1" * 30):
        refused = ask(wrong)
        assert (refused.status_code, refused.json()["type"]) == (404, "urn:luban:problem:no-such-version")
    damaged = ask("9")
    assert (damaged.status_code, damaged.json()["detail"]) == (503, "`model.onnx` was changed.")
    assert ask("9").status_code == 503
    assert loads.names.count("rooms-9") == 1, "what failed is not tried again at once"
    assert client.get("/ready").json()["newest_refused"] is None


class TestNobodyIsOperator:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"no_key": True}

    def test_other_versions_are_for_operators(self, client: httpx.Client, loads: Loads) -> None:
        refused = client.post("/v1/models/rooms/versions/2/predict", json=TEXT)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:luban:problem:not-allowed")
        assert client.post("/v1/models/rooms/versions/1/predict", json=TEXT).status_code == 200
        assert "rooms-2" not in loads.names


class TestAnybodyMayAskAnyVersion:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"no_key": True, "any_version": True}

    def test_asked(self, client: httpx.Client) -> None:
        assert client.post("/v1/models/rooms/versions/2/predict", json=TEXT).json()["version"] == 2


class TestIdle:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"memory": {"idle_s": 1.0, "wait_s": 20}}

    def test_many_questions_make_one_load_and_others_do_not_wait(self, client: httpx.Client, loads: Loads) -> None:
        client.post("/v1/models/rooms/predict", json=TEXT)

        def hotels_alone() -> bool:
            assert client.post("/v1/models/hotels/predict", json=TEXT).status_code == 200
            return state(client, "rooms")["state"] == "idle"

        until(hotels_alone)
        assert client.get("/ready").status_code == 200
        assert figure(client, 'luban_model_info{identity="rooms-1') == 1
        loads.slow, before = "rooms", loads.names.count("rooms-1")

        def ask(_: int) -> httpx.Response:
            return client.post("/v1/models/rooms/predict", json=TEXT)

        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(ask, number) for number in range(12)]
            until(lambda: loads.names.count("rooms-1") == before + 1)
            for _ in range(5):
                answered = client.post("/v1/models/hotels/predict", json=TEXT)
                assert answered.status_code == 200, answered.text
            assert not any(one.done() for one in asked)
            loads.go_on.set()
            assert {one.result().status_code for one in asked} == {200}
        assert loads.names.count("rooms-1") == before + 1
        until(lambda: state(client, "rooms")["state"] == "idle")
        assert figure(client, "luban_model_unloads_total") >= 2


class TestWaiting:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"memory": {"idle_s": 0.2, "wait_s": 0.5}}

    def test_who_waits_too_long_is_told_to_come_back(self, client: httpx.Client, loads: Loads) -> None:
        until(lambda: state(client, "rooms")["state"] == "idle")
        loads.slow = "rooms"
        late = client.post("/v1/models/rooms/predict", json=TEXT, headers={"x-timeout-ms": "50"})
        assert late.json()["type"] == "urn:luban:problem:too-late"
        waited = client.post("/v1/models/rooms/predict", json=TEXT)
        assert (waited.status_code, waited.headers["retry-after"]) == (503, "1")
        assert waited.json()["detail"] == "`rooms` is still being loaded."
        loads.go_on.set()
        until(lambda: client.post("/v1/models/rooms/predict", json=TEXT).status_code == 200)

    def test_facts_of_an_idle_model(self, client: httpx.Client) -> None:
        for path in ("/v1/model", "/openapi.json", "/v1/models/rooms", "/"):
            until(lambda: {state(client, name)["state"] for name in ("hotels", "rooms")} == {"idle"})
            found = client.get(path)
            assert found.status_code == 200
            assert "label" in found.text


class TestNoSpares:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"memory": {"spare_s": 0}}

    def test_a_version_that_left_is_gone_at_the_next_look(
        self, client: httpx.Client, origins: tuple[Versions, ...]
    ) -> None:
        origins[0].arms = ((2, 1.0),)
        until(lambda: [one["version"] for one in state(client, "hotels")["versions"]] == [2])
        assert figure(client, "luban_model_unloads_total") == 1


class TestComingAndGoing:
    @pytest.fixture
    def settings(self) -> dict[str, Any]:
        return {"memory": {"idle_s": 0.02, "spare_s": 0.02}}

    def test_models_that_come_and_go_under_load_fail_nobody(
        self, client: httpx.Client, loads: Loads, origins: tuple[Versions, ...]
    ) -> None:
        def ask(number: int) -> list[str]:
            draw, failed = random.Random(number), []
            for _ in range(60):
                model = draw.choice(("hotels", "rooms"))
                path = draw.choice((f"/v1/models/{model}/predict", f"/v1/models/{model}/versions/3/predict"))
                answered = client.post(path, json=TEXT)
                if answered.status_code != 200 or answered.json()["model"] != model:
                    failed.append(answered.text)
                time.sleep(draw.choice((0, 0, 0.03)))
            return failed

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, number) for number in range(4)]
            while not all(one.done() for one in asking):
                origins[0].arms = ((1, 0.5), (2, 0.5)) if origins[0].arms[0][1] == 1 else ((2, 1.0),)
                time.sleep(0.05)
            assert [one.result() for one in asking] == [[]] * 4
        assert len(loads.names) > 6, "nothing came and went"
        assert figure(client, "luban_model_unloads_total") > 3


class TestCeiling:
    """Real bundles, of which a bundle takes at least its files, and at most about twice as much: not all fit."""

    def test_all_are_answered_though_not_all_fit(self, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        """Python's collector is off: no question may leave a circle behind that holds a bundle."""
        gc.disable()
        request.addfinalizer(gc.enable)
        names = ("hotels", "rooms", "pools")
        for number, name in enumerate(names):
            write_tiny(tmp_path / name, float(number), name, ballast_mb=16)
        config = ServeConfig.model_validate({"port": 0, "memory": {"max_mb": 46}})
        folders = Origins(tuple(FolderOrigin(tmp_path / name) for name in names))
        with serving(folders, config, {}) as address, httpx.Client(base_url=address, timeout=20) as client:
            for name in (*names, *names):
                body = {"rows": [{"text": "很好"}]}
                answered = client.post(f"/v1/models/{name}/predict", json=body)
                assert answered.status_code == 200, answered.text
                assert answered.json()["model"] == name
                assert state(client, name)["state"] == "loaded"
                assert "idle" in {state(client, one)["state"] for one in names}
            assert figure(client, "luban_model_unloads_total") >= 3
            assert figure(client, "luban_memory_limit_bytes") == 46e6


def test_the_command_takes_several_bundles(tmp_path: Path) -> None:
    for number, name in enumerate(("hotels", "rooms")):
        write_tiny(tmp_path / name, float(number), name)
    command = [sys.executable, "-m", "luban", "serve", "--port", "0", "--json"]
    folders = [f"--bundle={tmp_path / name}" for name in ("hotels", "rooms")]
    process = subprocess.Popen([*command, *folders], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        address = json.loads(process.stdout.readline())["address"]
        for name in ("hotels", "rooms"):
            found = httpx.post(f"{address}/v1/models/{name}/predict", json={"rows": [{"text": "很好"}]}, timeout=20)
            assert found.json()["model"] == name
    finally:
        process.terminate()
        assert process.wait(30) == 0
    with pytest.raises(ConfigError, match="--bundle and --model exclude each other"):
        serve_command(bundle=[tmp_path / "hotels"], model=["rooms"])


def test_two_bundles_of_one_name_are_refused(loads: Loads) -> None:
    fleet = Fleet(Origins((Versions("rooms"), Versions("rooms"))))
    with pytest.raises(ServeError, match="got `rooms` twice"):
        fleet.start()


class TestReady:
    @pytest.fixture
    def fleet(self, loads: Loads) -> Iterator[Callable[..., Fleet]]:
        started: list[Fleet] = []

        def start(origins: Origins) -> Fleet:
            fleet = Fleet(origins, poll_s=0.02)
            fleet.start()
            started.append(fleet)
            return fleet

        yield start
        for one in started:
            one.stop()

    def test_all_that_are_named_must_be_there(self, fleet: Callable[..., Fleet]) -> None:
        bad, good = Versions("bad"), Versions("good")
        bad.arms = ((9, 1.0),)
        held = fleet(Origins((good, bad)))
        assert "Version 9 of `bad` is refused" in held.unready()
        bad.arms = ((1, 1.0),)
        until(lambda: held.unready() == "")
        bad.arms = ((9, 1.0),)
        until(lambda: held.live("bad").num_refused == 2)
        assert held.unready() == "", "the old one stays"

    def test_of_all_models_one_is_enough_and_others_join(self, fleet: Callable[..., Fleet]) -> None:
        bad, good, new = Versions("bad"), Versions("good"), Versions("new")
        bad.arms = ((9, 1.0),)
        released = [good, bad]
        held = fleet(Origins((good, bad), lambda: released))
        assert held.unready() == ""
        released.append(new)
        until(lambda: held.names() == ["good", "bad", "new"])
        assert held.live("new").state == "loaded"


class TestSeveralArms:
    def test_arms_move_under_load_without_a_failed_request(
        self, client: httpx.Client, origins: tuple[Versions, ...], loads: Loads
    ) -> None:
        hotels, seen, failed, stop = origins[0], set[int](), list[str](), threading.Event()

        def ask(number: int) -> None:
            with httpx.Client(base_url=client.base_url, timeout=20) as own:
                for count in range(10**6):
                    if stop.is_set():
                        return
                    headers = {"x-sticky-key": f"{number} {count}"}
                    response = own.post("/v1/predict", json=TEXT, headers=headers)
                    found = response.json()
                    if response.status_code != 200 or found["identity"][:8] != f"hotels-{found['version']}":
                        failed.append(response.text)
                    seen.add(found.get("version", 0))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask, number) for number in range(4)]
            for arms in (((1, 0.5), (2, 0.5)), ((2, 0.4), (3, 0.3), (4, 0.3)), ((4, 0.5), (1, 0.5)), ((5, 1.0),)):
                hotels.arms, hotels.shadows = arms, (6,)
                versions = {number for number, _ in arms}
                until(lambda versions=versions: {one["version"] for one in serving_now(client)} == versions)
                seen.clear()
                until(lambda versions=versions: seen >= versions)
            stop.set()
            for one in asking:
                one.result()
        assert not failed
        assert [loads.names.count(f"hotels-{number}") for number in range(1, 7)] == [1] * 6

    def test_an_arm_that_is_refused_changes_nothing_for_the_champion(
        self, client: httpx.Client, origins: tuple[Versions, ...], loads: Loads
    ) -> None:
        origins[0].arms = ((1, 0.5), (9, 0.5))
        until(lambda: client.get("/ready").json()["newest_refused"] is not None)
        assert "Version 9 of `hotels` is refused" in client.get("/ready").json()["newest_refused"]
        for number in range(20):
            headers = {"x-sticky-key": str(number)}
            assert client.post("/v1/predict", json=TEXT, headers=headers).json()["version"] == 1
        time.sleep(0.1)
        assert (loads.names.count("hotels-9"), loads.names.count("hotels-1")) == (1, 1)


def serving_now(client: httpx.Client) -> list[dict[str, Any]]:
    return [one for one in state(client, "hotels")["versions"] if one["weight"] is not None]


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ((), "arms of different names"),
        ((PlannedArm("a", 1, 0.5), PlannedArm("a", 2, 0.5)), "arms of different names"),
        ((PlannedArm("a", 1, 0.5), PlannedArm("b", 2, 0.6)), "add up to 1"),
        ((PlannedArm("a", 1, 1.5), PlannedArm("b", 2, -0.5)), "from 0 to 1"),
    ],
)
def test_plans_that_cannot_be(arms: tuple[PlannedArm, ...], told: str) -> None:
    with pytest.raises(ServeError, match=told):
        Plan("reviews", arms)


def test_a_lineup_names_each_version_once() -> None:
    origin = Versions("a")
    origin.arms, origin.shadows = ((1, 0.5), (2, 0.5)), (2, 3)
    assert [wanted.version for wanted in origin.look().versions()] == [1, 2, 3]
    assert origin.look().alone() == Lineup.of(origin.numbered(1), "arm 1")
