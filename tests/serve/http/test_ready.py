"""What is open to all says that the server lives and is ready, and names nothing; who has a key is told more."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from luban.policy.rules import Role
from luban.serve.config import ServeConfig
from luban.serve.fleet.fleet import Origins
from luban.serve.fleet.origins import Wanted
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.server import serving
from luban.store.home import Home
from ports import free_port

from ..conftest import FakeBundle, HandOrigin
from ..kept import ADA

OPEN = ("/health", "/ready", "/v2/health/live", "/v2/health/ready", "/")
LOCKED = ("/v2", "/v2/models/reviews", "/v2/models/reviews/ready", "/v2/models/none/ready", "/v1/models", "/v1/model")


class OtherOrigin(HandOrigin):
    name = "rooms"

    def numbered(self, number: int) -> Wanted:
        return Wanted(str(number), "rooms", number, None)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Home, dict[str, dict[str, str]]]:
    """Headers of somebody who may ask `reviews` alone, and of an admin."""
    home = Home.open(tmp_path)
    ring = Keyring(home.ledger)
    roles: dict[str, tuple[Role, tuple[str, ...] | None]] = {"one": ("viewer", ("reviews",)), "all": ("admin", None)}
    made = {name: ring.create(NewKey(name, role, models), ADA)[0] for name, (role, models) in roles.items()}
    return home, {name: {"x-api-key": key} for name, key in made.items()}


def test_names_are_for_who_has_a_key(keys: tuple[Home, dict[str, dict[str, str]]], bundle: FakeBundle) -> None:
    home, headers = keys
    origins = Origins((HandOrigin(), OtherOrigin()))
    with serving(origins, ServeConfig(port=0), {}, home) as address, httpx.Client(base_url=address) as client:
        for path in OPEN:
            found = client.get(path)
            assert found.status_code == 200, path
            assert not [word for word in ("reviews", "rooms", bundle.identity) if word in found.text], path
        counts = {"loaded": 2, "idle": 0, "refused": 0}
        assert client.get("/ready").json() == {"status": "ready", "counts": counts}
        assert client.get("/ready", headers={"x-api-key": "wrong"}).json() == {"status": "ready", "counts": counts}
        for path in LOCKED:
            assert client.get(path).status_code == 401, path
        mine = client.get("/ready", headers=headers["one"]).json()
        assert (mine["model"], mine["version"], mine["identity"]) == ("reviews", 1, bundle.identity)
        assert (mine["models"], mine["counts"]) == ({"reviews": "loaded"}, counts)
        assert list(client.get("/ready", headers=headers["all"]).json()["models"]) == ["reviews", "rooms"]
        for who, status in {"one": 403, "all": 200}.items():
            assert client.get("/v2/models/rooms/ready", headers=headers[who]).status_code == status
        assert "rooms" not in client.get("/v2/models/none/ready", headers=headers["one"]).text


def test_why_it_is_not_ready_is_for_who_has_a_key(keys: tuple[Home, dict[str, dict[str, str]]]) -> None:
    home, headers = keys
    origin = HandOrigin()
    origin.version = None
    with serving(origin, ServeConfig(port=0), {}, home) as address, httpx.Client(base_url=address) as client:
        for path in ("/ready", "/v2/health/ready"):
            for sent in ({}, headers["one"]):
                found = client.get(path, headers=sent)
                assert (found.status_code, found.json()["detail"]) == (503, "This server cannot be asked yet.")
                assert found.headers["retry-after"]
                assert "reviews" not in found.text
        assert "`reviews` has no champion" in client.get("/ready", headers=headers["all"]).json()["detail"]


def test_the_same_over_grpc(keys: tuple[Home, dict[str, dict[str, str]]], bundle: FakeBundle) -> None:
    pytest.importorskip("grpc")
    triton = pytest.importorskip("tritonclient.grpc")
    home, headers = keys
    config = ServeConfig.model_validate({"port": 0, "grpc": {"port": free_port()}})
    origins = Origins((HandOrigin(), OtherOrigin()))
    address = f"127.0.0.1:{config.grpc.port}"
    with serving(origins, config, {}, home), triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        for ask in (lambda: client.is_model_ready("reviews"), client.get_server_metadata):
            with pytest.raises(triton.InferenceServerException, match="UNAUTHENTICATED"):
                ask()
        assert client.is_model_ready("reviews", headers=headers["one"])
        assert not client.is_model_ready("rooms", headers=headers["one"])
        assert client.is_model_ready("rooms", headers=headers["all"])
        assert client.get_server_metadata(headers=headers["one"]).name == "luban"
