"""Bearer tokens against a provider's real HTTP server, with keys that are made here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from luban.errors import ServeError
from luban.policy.rules import Actor
from luban.serve.config import ServeConfig
from luban.serve.guards.auth import AuthConfig, OidcConfig
from luban.serve.guards.door import Door
from luban.serve.guards.keyring import Keyring, NewKey
from luban.serve.guards.keys import Keys
from luban.serve.guards.oidc import Oidc
from luban.serve.guards.once import Memory
from luban.serve.guards.provider import Provider as ProviderAsked
from luban.serve.http.problems import NotYet, Problem
from luban.serve.question import Caller
from luban.serve.server import serving
from luban.store.ledger import Ledger
from waiting import BOUND_S, Clock, until

from ..conftest import FakeBundle, HandOrigin

AUDIENCE = "luban-reviews"
RSA, OTHER_RSA = (rsa.generate_private_key(65537, 2048) for _ in range(2))
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()


class Provider:
    """A provider on loopback: its settings, its keys, and how often they were fetched."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"rsa": RSA, "ec": EC}
        self.extra: list[dict[str, Any]] = []
        self.num_fetched = 0
        self.broken = False
        self.issuer_told: str | None = None
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = provider.answer(self.path)
                self.send_response(500 if body is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, path: str) -> Any:
        if self.broken:
            return None
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.issuer_told or self.url, "jwks_uri": f"{self.url}/keys"}
        self.num_fetched += 1
        return {"keys": [*(_jwk(name, key) for name, key in self.keys.items()), *self.extra]}

    def token(self, kid: str | None = "rsa", key: Any = None, alg: str = "RS256", **claims: Any) -> str:
        now = int(time.time())
        body = {"iss": self.url, "aud": AUDIENCE, "sub": "app-1", "iat": now, "exp": now + 300, "roles": ["apps"]}
        body = {name: value for name, value in {**body, **claims}.items() if value is not None}
        return jwt.encode(body, self.keys[kid or "rsa"] if key is None else key, alg, {"kid": kid} if kid else {})


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    algorithm = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }[next(k for k in (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey) if isinstance(key, k))]
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def config_of(provider: Provider, **settings: Any) -> OidcConfig:
    given = {"issuer": provider.url, "audience": AUDIENCE, "roles": {"apps": "caller", "ml": "operator"}, "leeway_s": 5}
    return OidcConfig.model_validate({**given, **settings})


def door_of(provider: Provider, **settings: Any) -> Door:
    config = config_of(provider, **settings)
    door = Door(Keys(), None, Oidc(config, Memory() if config.one_time else None))
    door.check()
    return door


def enter(door: Door, token: str) -> Caller:
    return door.enter(f"Bearer {token}")


def refused(door: Door, token: str, kind: str = "no-key") -> str:
    with pytest.raises(Problem) as caught:
        enter(door, token)
    assert not isinstance(caught.value, NotYet)
    assert caught.value.kind == kind
    assert kind != "no-key" or 'error="invalid_token"' in caught.value.headers["www-authenticate"]
    return caught.value.detail


def test_a_good_token(provider: Provider) -> None:
    door = door_of(provider)
    found = enter(door, provider.token(roles=["apps", "ml", "unknown"]))
    assert (found.name, found.role, found.models) == ("app-1", "operator", None)
    assert enter(door, provider.token("ec", alg="ES256")).role == "caller"
    assert found.id == enter(door, provider.token()).id != enter(door, provider.token(sub="app-2")).id
    with pytest.raises(Problem, match="no API key"):
        door.enter()


def test_roles_and_models_may_stand_anywhere(provider: Provider) -> None:
    door = door_of(provider, role_claim="realm_access.roles", models_claim="https://luban/models")
    claims = {"realm_access": {"roles": ["apps"]}, "https://luban/models": ["reviews"]}
    assert enter(door, provider.token(roles=None, **claims)).models == frozenset({"reviews"})
    assert enter(door, provider.token(realm_access={"roles": "openid apps"})).models == frozenset()
    for wrong in ({}, {"realm_access": ["apps"]}, {"realm_access": {"roles": [7, "none"]}}):
        assert "no role" in refused(door, provider.token(**wrong), "not-allowed")


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1_000_000_000, "iat": 999_999_000}, "has expired"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
        ({"nbf": "soon"}, "must be numbers"),
        ({"exp": float("nan")}, "must be numbers"),
        ({"exp": 10**400}, "must be numbers"),
        ({"iat": 4_000_000_000, "exp": 4_000_000_300}, "not valid yet"),
        ({"iss": "https://another.example"}, "another issuer"),
        ({"aud": "another"}, "another audience"),
        ({"aud": ["another", "third"]}, "another audience"),
        ({"exp": None}, "must have `exp`"),
        ({"iat": None}, "must have `exp`, `iat`"),
        ({"sub": None}, "must have"),
        ({"aud": None}, "must have|another audience"),
        ({"iss": None}, "must have|another issuer"),
        ({"exp": 4_000_000_000}, "lives longer"),
        ({"exp": "soon"}, "must be numbers|cannot be read"),
    ],
)
def test_claims_that_do_not_fit(provider: Provider, claims: dict[str, Any], words: str) -> None:
    import re

    assert re.search(words, refused(door_of(provider), provider.token(**claims)))


def test_forged_tokens(provider: Provider) -> None:
    door = door_of(provider, min_refresh_s=1000)
    good = provider.token()
    head, body, signature = good.split(".")
    other_body = jwt.utils.base64url_encode(json.dumps({"sub": "root"}).encode()).decode()
    for forged in (f"{head}.{other_body}.{signature}", f"{head}.{body}.{signature[:-6]}AAAAAA", f"{head}.{body}."):
        refused(door, forged)
    assert "does not fit" in refused(door, provider.token(key=OTHER_RSA))
    for broken in ("a.b.c", "..", f"{head}.{body}.!!", "e30.e30.e30"):
        refused(door, broken)


def test_extensions_that_must_be_understood(provider: Provider) -> None:
    now = int(time.time())
    body = {"iss": provider.url, "aud": AUDIENCE, "sub": "a", "iat": now, "exp": now + 300, "roles": ["apps"]}
    token = jwt.encode(body, RSA, "RS256", {"kid": "rsa", "crit": ["bound-to"], "bound-to": "another"})
    assert refused(door_of(provider), token), "by the library, or by us where it is older"


def test_a_subject_of_odd_signs_has_a_name(provider: Provider) -> None:
    """It stands in the log and on the audit trail."""
    door = door_of(provider)
    assert enter(door, provider.token(sub="li\nlei\u202e\x1b[0m")).name == "lilei[0m"
    assert enter(door, provider.token(sub="\n")).name.startswith("oidc:")


def test_algorithm_none(provider: Provider) -> None:
    door = door_of(provider)
    for name in ("none", "None", "nOnE"):
        head = jwt.utils.base64url_encode(json.dumps({"alg": name, "kid": "rsa"}).encode()).decode()
        body = provider.token().split(".")[1]
        assert "algorithm must be one of" in refused(door, f"{head}.{body}.")


def test_a_public_key_is_no_secret(provider: Provider) -> None:
    """HS256 with the provider's public key as its secret, made by hand: libraries refuse to make it."""
    import hashlib
    import hmac

    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    encode = jwt.utils.base64url_encode
    signed = (
        encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()) + b"." + provider.token().split(".")[1].encode()
    )
    forged = signed + b"." + encode(hmac.new(pem, signed, hashlib.sha256).digest())
    assert "algorithm must be one of" in refused(door_of(provider), forged.decode())


def test_algorithms_and_keys_do_not_mix(provider: Provider) -> None:
    provider.keys["ed"] = ED
    door = door_of(provider, algorithms=("RS256", "ES256"))
    assert "algorithm must be one of" in refused(door, provider.token("ed", alg="EdDSA"))
    assert "not that of the key" in refused(door, provider.token("ec", key=RSA, alg="RS256"))
    assert enter(door_of(provider, algorithms=("EdDSA",)), provider.token("ed", alg="EdDSA"))
    with pytest.raises(ValueError, match="must be of RS256"):
        config_of(provider, algorithms=("HS256",))


def test_keys_that_are_not_for_us_are_left_out(provider: Provider) -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "kid": "oct", "alg": "HS256"}
    provider.extra = [
        secret,
        {"kty": "RSA", "kid": "bad", "n": "!", "e": "!"},
        {"kid": "x"},
        {**_jwk("enc", RSA), "use": "enc"},
    ]  # type: ignore[list-item]
    door = door_of(provider, min_refresh_s=1000)
    assert enter(door, provider.token())
    assert "does not have" in refused(door, provider.token("enc", key=RSA))


async def _through(door: Door, token: str) -> Caller:
    """As the server does: wait once where something must be fetched."""
    try:
        return enter(door, token)
    except NotYet as later:
        await later.ready()
        return enter(door, token)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which keys grow old."""
    clock = Clock()
    monkeypatch.setattr("luban.serve.guards.oidc.time", clock)
    return clock


def test_a_rotated_key_is_fetched_while_the_request_waits(provider: Provider, clock: Clock) -> None:
    door = door_of(provider, min_refresh_s=1000)
    clock.ahead_s += 1001
    provider.keys = {"new": OTHER_RSA}

    async def many() -> list[Caller]:
        return await asyncio.gather(*(_through(door, provider.token("new")) for _ in range(20)))

    before = provider.num_fetched
    assert len(asyncio.run(many())) == 20
    assert provider.num_fetched == before + 1
    refused(door, provider.token("rsa", key=RSA))


def test_unknown_keys_do_not_make_us_ask_again_and_again(provider: Provider) -> None:
    door = door_of(provider, min_refresh_s=1000)
    for number in range(50):
        refused(door, provider.token(f"unknown-{number}", key=OTHER_RSA))
    assert provider.num_fetched == 1


def test_a_provider_that_is_gone(provider: Provider, clock: Clock) -> None:
    door = door_of(provider, refresh_s=300, min_refresh_s=300, keep_s=3600)
    provider.broken = True
    clock.ahead_s += 301
    door.check()
    assert "Cannot read" in door.reason
    assert enter(door, provider.token())
    clock.ahead_s += 3600
    with pytest.raises(NotYet) as caught:
        enter(door, provider.token(sub="another"))
    assert caught.value.kind == "no-provider"
    provider.broken = False
    assert asyncio.run(_through(door, provider.token(sub="another")))


def test_a_provider_of_another_name_is_refused(provider: Provider) -> None:
    provider.issuer_told = "https://evil.example"
    door = Door(Keys(), None, Oidc(config_of(provider)))
    door.check()
    assert "another issuer" in door.reason
    for wrong in ("http://login.example.com", "ftp://x", "http://127.0.0.1.evil.example/"):
        with pytest.raises(ValueError, match="must begin with https"):
            config_of(provider, issuer=wrong)


def test_a_token_that_was_let_in_is_forgotten_when_it_ends(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    door = door_of(provider)
    token = provider.token()
    enter(door, token)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 306)
    assert "has expired" in refused(door, token)


def test_a_key_that_was_taken_back_lets_nobody_in_for_long(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    door = door_of(provider, refresh_s=0.001, min_refresh_s=0.001)
    token = provider.token()
    assert enter(door, token)
    provider.keys = {"new": OTHER_RSA}
    until(lambda: (door.check(), provider.num_fetched > 1)[1])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(Problem, match="signed by a key that the provider does not have"):
        enter(door, token)


def test_a_provider_that_drips_is_given_up() -> None:
    """Each byte that comes begins the socket's own limit anew."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                for _ in range(3000):
                    connection.sendall(b" ")
                    time.sleep(0.01)

        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        given = {"issuer": url, "jwks_url": f"{url}/keys", "audience": AUDIENCE, "roles": {"apps": "caller"}}
        with pytest.raises(ServeError, match="it came too slowly"):
            ProviderAsked(OidcConfig.model_validate({**given, "timeout_s": 0.1})).keys()
        dripping.join()


def test_a_provider_that_hangs_keeps_no_revoked_key_alive(provider: Provider, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ring, hangs, go_on = Keyring(ledger), threading.Event(), threading.Event()
    key, record = ring.create(NewKey("app"), Actor("ada"))
    oidc = Oidc(config_of(provider))
    door = Door(Keys(), ring, oidc, poll_s=0.02)
    door.start()

    def renew() -> None:
        hangs.set()
        go_on.wait(BOUND_S)

    oidc.renew = renew  # type: ignore[method-assign]
    try:
        assert hangs.wait(BOUND_S)
        assert door.enter("", key)
        ring.revoke(record.id, Actor("ada"))

        def is_refused() -> bool:
            with contextlib.suppress(Problem):
                door.enter("", key)
                return False
            return True

        until(is_refused)
    finally:
        go_on.set()
        door.close()
        ledger.close()


@pytest.mark.parametrize("shared", [False, True])
def test_replayed(provider: Provider, tmp_path: Path, shared: bool) -> None:
    """Once each, also across the processes of one server."""
    folder = tmp_path / "once" if shared else None
    memory = Memory(folder)
    doors = [
        Door(Keys(), None, Oidc(config_of(provider, one_time=True), Memory(folder) if shared else memory))
        for _ in range(2)
    ]
    for door in doors:
        door.check()
    token = provider.token(jti="1")
    assert enter(doors[0], token)
    assert "used before" in refused(doors[0], token)
    assert "used before" in refused(doors[1], token)
    assert enter(doors[1], provider.token(jti="2"))
    assert "no `jti`" in refused(doors[0], provider.token())


def test_over_http(provider: Provider, origin: HandOrigin, bundle: FakeBundle) -> None:
    """All routes, both ways through the server; a rotated key costs no request."""
    auth = AuthConfig(oidc=config_of(provider, min_refresh_s=0.05))
    ask: Callable[..., httpx.Response]
    with serving(origin, ServeConfig(port=0, auth=auth), {}) as address, httpx.Client(base_url=address) as client:
        ask = lambda token: client.post(  # noqa: E731
            "/v1/predict", json={"rows": [{"text": "short"}]}, headers={"authorization": f"Bearer {token}"}
        )
        assert client.get("/v1/model").status_code == 401
        assert ask(provider.token()).json()["answers"][0]["label"] == "short"
        refused = ask(provider.token(aud="another"))
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
        time.sleep(0.06)
        provider.keys["newer"] = OTHER_RSA
        assert ask(provider.token("newer")).status_code == 200
        time.sleep(0.06)
        provider.keys["newest"] = RSA
        headers = {"authorization": f"Bearer {provider.token('newest')}"}
        assert client.get("/v1/model", headers=headers).status_code == 200
        assert ask(provider.token(roles=["none"])).status_code == 403
