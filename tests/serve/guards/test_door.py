"""Keys of the ledger: what they let in, when they stop, and what happens while nothing can be read."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luban.errors import ConfigError, Denied, ServeError, StoreError
from luban.policy.rules import Actor
from luban.serve.address import listen
from luban.serve.config import ServeConfig
from luban.serve.guards.door import MAX_SEEN, STRANGER, Door
from luban.serve.guards.key_records import hashed, id_in
from luban.serve.guards.keyring import Keyring, NewKey, lifetime
from luban.serve.guards.keys import Keys
from luban.serve.guards.limits_config import LimitConfig
from luban.serve.http.problems import Problem
from luban.serve.question import ANYBODY
from luban.serve.server import serving
from luban.store.home import Home
from waiting import until

from ..conftest import FakeBundle, HandOrigin

ADA = Actor("ada")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home.open(tmp_path)
    yield home
    home.ledger.close()


@pytest.fixture
def keyring(home: Home) -> Keyring:
    return Keyring(home.ledger)


def door(keyring: Keyring | None, keys: tuple[str, ...] = ()) -> Door:
    made = Door(Keys(keys), keyring)
    made.check()
    return made


def why(door: Door, key: str) -> str:
    with pytest.raises(Problem) as caught:
        door.enter(f"Bearer {key}")
    assert caught.value.kind == "no-key"
    return caught.value.detail


def test_a_key_is_who_it_was_made_for(keyring: Keyring) -> None:
    new = NewKey("shop", "operator", ("reviews",), None, LimitConfig(rate_per_s=5))
    key, record = keyring.create(new, ADA)
    found = door(keyring).enter(f"Bearer {key}")
    assert (found.name, found.role, found.models, found.id) == ("shop", "operator", frozenset({"reviews"}), record.id)
    assert door(keyring).enter("", key) == found
    made = door(keyring)
    assert made.limit_of(record.id) == LimitConfig(rate_per_s=5)
    assert made.limit_of("another") is None


def test_the_key_itself_is_nowhere(keyring: Keyring, home: Home, tmp_path: Path) -> None:
    key, record = keyring.create(NewKey("shop"), ADA)
    secret = key.removeprefix(f"luban_{record.id}_")
    home.ledger.close()
    assert record.hash == hashed(key)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


def test_each_act_is_on_the_trail(keyring: Keyring, home: Home) -> None:
    _, record = keyring.create(NewKey("shop"), ADA)
    keyring.revoke("shop", Actor("eve"))
    keyring.revoke(record.id, Actor("eve"))
    entries = home.ledger.audit_entries()
    assert [(entry.actor, entry.verb, entry.object) for entry in entries] == [
        ("eve", "revoke", f"key {record.id}"),
        ("ada", "create", f"key {record.id}"),
    ]
    home.ledger.verify_audit()


@pytest.mark.parametrize("role", ["viewer", "caller", "operator"])
def test_only_an_admin_makes_and_revokes(keyring: Keyring, home: Home, role: str) -> None:
    _, record = keyring.create(NewKey("shop"), ADA)
    mallory = Actor("mallory", role)  # type: ignore[arg-type]
    with pytest.raises(Denied, match="takes the role admin"):
        keyring.create(NewKey("mine", "admin"), mallory)
    with pytest.raises(Denied, match="takes the role admin"):
        keyring.revoke(record.id, mallory)
    assert len(home.ledger.audit_entries()) == 1


def test_revoked_and_expired(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    key, record = keyring.create(NewKey("shop", lives_s=60), ADA)
    watched = door(keyring)
    watched.enter(f"Bearer {key}")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert why(watched, key) == f"The API key `{record.id}` has expired."
    keyring.revoke(record.id, ADA)
    watched.check()
    assert why(watched, key) == f"The API key `{record.id}` was revoked."


def test_a_clock_set_back_brings_no_key_back(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = keyring.create(NewKey("shop", lives_s=60), ADA)
    watched = door(keyring)
    wall, even = time.time(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: even + 61)
    monkeypatch.setattr(time, "time", lambda: wall - 3600)
    assert "has expired" in why(watched, key)


def test_the_last_key_revoked_leaves_the_door_locked(keyring: Keyring) -> None:
    assert door(keyring).enter() is ANYBODY
    key, record = keyring.create(NewKey("shop"), ADA)
    keyring.revoke(record.id, ADA)
    assert door(keyring)
    for one in ("", key):
        why(door(keyring), one)


def test_in_doubt_nobody_comes_in() -> None:
    class Broken(Keyring):
        def __init__(self) -> None:
            pass

        def records(self) -> dict[str, object]:  # type: ignore[override]
            raise StoreError("The ledger cannot be read.")

    locked = door(Broken(), ("a-key-of-the-environment",))
    assert "cannot be read" in locked.reason
    why(locked, "luban_0_0")
    assert locked.enter("", "a-key-of-the-environment").role == "admin"


def test_a_locked_ledger_changes_nothing(keyring: Keyring, tmp_path: Path) -> None:
    key, _ = keyring.create(NewKey("shop"), ADA)
    watched = door(keyring)
    path = next(tmp_path.rglob("ledger.db"))
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        looked = threading.Thread(target=watched.check)
        looked.start()
        assert watched.enter(f"Bearer {key}").name == "shop"
        other.rollback()
    looked.join(60)
    assert watched.enter(f"Bearer {key}").name == "shop"


def test_a_damaged_ledger_is_said_and_changes_nothing(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = keyring.create(NewKey("shop", lives_s=60), ADA)
    watched = door(keyring)

    def records(self: Keyring) -> None:
        raise RuntimeError("what a driver raises")

    monkeypatch.setattr(Keyring, "records", records)
    watched.check()
    assert "what a driver raises" in watched.reason
    assert watched.enter(f"Bearer {key}").name == "shop"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert "has expired" in why(watched, key)


@given(st.text(max_size=80), st.text(max_size=80))
def test_nothing_else_opens(authorization: str, x_api_key: str) -> None:
    locked = Door(Keys(("a-key-of-the-environment",)))
    with pytest.raises(Problem):
        locked.enter(authorization, x_api_key)


def test_forged_keys(keyring: Keyring) -> None:
    key, record = keyring.create(NewKey("shop"), ADA)
    other, _ = keyring.create(NewKey("other"), ADA)
    watched = door(keyring)
    ends = other.split("_", 2)[2]
    forged = (key[:-1], key + "x", key.upper(), f"luban_{record.id}_", f"luban_{record.id}_{ends}", f"luban__{ends}")
    for one in (*forged, record.hash.hex(), f"luban_{record.id}_{record.hash.hex()}", "x" * 100_000):
        assert watched.enter(f"Bearer {key}")
        why(watched, one)
    assert id_in("luban_a_b_c") == "a"


def test_who_was_let_in_is_remembered_within_bounds(keyring: Keyring) -> None:
    key, _ = keyring.create(NewKey("shop"), ADA)
    watched = door(keyring)
    for number in range(MAX_SEEN + 10):
        watched.enter(f"Bearer {key}", str(number))
    assert len(watched._known.seen) <= MAX_SEEN


def test_what_a_key_may_be() -> None:
    assert lifetime("12h") == 12 * 3600
    for text in ("0d", "90", "d", "-1d", "1y"):
        with pytest.raises(ConfigError, match="`expires`"):
            lifetime(text)
    for wrong in ({"name": " "}, {"name": "a\nb"}, {"name": "a", "role": "root"}, {"name": "a", "models": ()}):
        with pytest.raises(ConfigError):
            NewKey(**wrong)  # type: ignore[arg-type]


def test_a_name_that_two_keys_have_is_asked_back(keyring: Keyring) -> None:
    _, first = keyring.create(NewKey("shop"), ADA)
    keyring.create(NewKey("shop"), ADA)
    with pytest.raises(StoreError, match="2 keys are called `shop`"):
        keyring.revoke("shop", ADA)
    keyring.revoke(first.id, ADA)
    keyring.revoke("shop", ADA)
    with pytest.raises(StoreError, match="no API key `nobody`"):
        keyring.revoke("nobody", ADA)


def test_a_key_revoked_in_flight(origin: HandOrigin, bundle: FakeBundle, home: Home, keyring: Keyring) -> None:
    """What runs is finished; the next request on the same connection is refused."""
    key, record = keyring.create(NewKey("shop", "viewer"), ADA)
    caller, asked = keyring.create(NewKey("app"), ADA)
    config = ServeConfig(port=0, poll_s=0.02)
    with (
        serving(origin, config, {}, home) as address,
        httpx.Client(base_url=address, headers={"authorization": f"Bearer {caller}"}, timeout=20) as client,
    ):
        answers: list[int] = []
        rows = [{"text": "wait"}] * 50
        running = threading.Thread(
            target=lambda: answers.append(client.post("/v1/predict", json={"rows": rows}).status_code)
        )
        running.start()
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {key}"}) as viewer:
            assert viewer.get("/v1/model").status_code == 200
            assert viewer.post("/v1/predict", json={"rows": []}).status_code == 403
            keyring.revoke(record.id, ADA)
            until(lambda: viewer.get("/v1/model").status_code == 401)
            assert "was revoked" in viewer.get("/v1/model").json()["detail"]
        keyring.revoke(asked.id, ADA)
        until(lambda: httpx.get(f"{address}/v1/model", headers=client.headers).status_code == 401)
        bundle.go_on.set()
        running.join(20)
        assert answers == [200]
        assert client.post("/v1/predict", json={"rows": []}).status_code == 401


def test_a_key_asks_its_models_alone(origin: HandOrigin, bundle: FakeBundle, home: Home, keyring: Keyring) -> None:
    key, _ = keyring.create(NewKey("app", models=("another",)), ADA)
    with serving(origin, ServeConfig(port=0, poll_s=0.02), {}, home) as address:
        headers = {"x-api-key": key}
        refused = httpx.post(f"{address}/v1/predict", json={"rows": []}, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:luban:problem:not-allowed")


def test_the_first_key_locks_a_server_that_runs(
    origin: HandOrigin, bundle: FakeBundle, home: Home, keyring: Keyring
) -> None:
    with serving(origin, ServeConfig(port=0, poll_s=0.02), {}, home) as address:
        assert httpx.get(f"{address}/v1/model").status_code == 200
        keyring.create(NewKey("shop"), ADA)
        until(lambda: httpx.get(f"{address}/v1/model").status_code == 401)


def test_a_key_opens_other_addresses_and_no_key_makes_callers(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("socket.create_server", lambda address, **more: opened.append(address[0]))
    with pytest.raises(ServeError, match="luban keys create"):
        listen(ServeConfig(host="0.0.0.0", port=0), door(keyring))
    keyring.create(NewKey("shop"), ADA)
    listen(ServeConfig(host="0.0.0.0", port=0), door(keyring))
    assert opened == ["0.0.0.0"]
    assert Door.open(ServeConfig(no_key=True), {}, None).enter() is STRANGER
    assert not STRANGER.may("operator")
