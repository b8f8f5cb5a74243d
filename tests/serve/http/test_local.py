"""A server without keys, which is everybody's on this machine, and pages of the web that a browser there shows."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from luban.serve.config import ServeConfig
from luban.serve.http.local import is_own
from luban.serve.server import serving
from luban.store.home import Home

from ..conftest import FakeBundle, HandOrigin
from .test_direct import KEY

ASKED = {"rows": [{"text": "a"}]}
ROLLBACK = "/v1/deployments/reviews/rollback"
PAGE = {"origin": "https://example.com", "content-type": "text/plain"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8000", "localhost.", "api.localhost:8000", "127.0.0.1:8000", "[::1]:8000", "10.1.2.3", ""],
)
def test_programs_of_this_machine_ask(host: str) -> None:
    assert is_own(host, "")


@pytest.mark.parametrize(
    "host", ["example.com", "localhost.example.com", "127.0.0.1.example.com:8000", "[x]:1", "0x7f1"]
)
def test_a_name_that_was_made_to_lead_here_does_not(host: str) -> None:
    assert not is_own(host, "")
    assert not is_own(host, f"http://{host}")


@pytest.mark.parametrize(
    ("origin", "own"),
    {
        "http://localhost:3000": True,
        "http://127.0.0.1:8000": True,
        "http://[::1]:3000": True,
        "https://example.com": False,
        "http://localhost.example.com": False,
        "http://10.1.2.3": False,
        "null": False,
        "file://": False,
    }.items(),
)
def test_pages_of_this_machine_alone(origin: str, own: bool) -> None:
    assert is_own("localhost:8000", origin) is own


def test_a_page_changes_and_reads_nothing(origin: HandOrigin, bundle: FakeBundle, tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    with serving(origin, ServeConfig(port=0), {}, home) as address, httpx.Client(base_url=address) as client:
        assert client.post(ROLLBACK).status_code == 409, "by a program: there is nothing to go back to"
        refused = client.post(ROLLBACK, headers=PAGE)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:luban:problem:not-allowed")
        for path in ("/v1/model", "/openapi.json", "/metrics", "/v1/jobs", "/v1/deployments/reviews"):
            assert client.get(path, headers={"host": "rebound.example:8000"}).status_code == 403, path
        for path in ("/v1/predict", "/v1/models/re%76iews/predict"):  # the short way and the usual one
            assert client.post(path, json=ASKED).status_code == 200
            assert client.post(path, json=ASKED, headers={"host": "rebound.example"}).status_code == 403
            assert client.post(path, json=ASKED, headers={"origin": "null"}).status_code == 403
        assert "rather long" in client.get("/").text
        assert "rather long" not in client.get("/", headers={"host": "rebound.example"}).text
        assert client.get("/health", headers={"host": "rebound.example"}).status_code == 200
    home.ledger.close()


@pytest.mark.parametrize("environment", [{"LUBAN_API_KEY": KEY}], ids=["key"])
def test_with_a_key_any_name_will_do(client: httpx.Client) -> None:
    """A page does not have the key, and where it was given one it may ask."""
    headers = {"host": "api.example.com", "origin": "https://example.com", "x-api-key": KEY}
    assert client.post("/v1/predict", json=ASKED, headers=headers).status_code == 200


@pytest.mark.parametrize("config", [ServeConfig(port=0, no_key=True)])
def test_opened_to_all_any_name_will_do(client: httpx.Client) -> None:
    assert client.post("/v1/predict", json=ASKED, headers={"host": "api.example.com"}).status_code == 200
    assert client.post(ROLLBACK, headers=PAGE).status_code == 403, "nobody is more than a caller"
