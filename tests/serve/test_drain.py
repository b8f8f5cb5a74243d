"""A server that is told to stop by SIGTERM, with `drain_s`; and settings of a server that has no project."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from waiting import until

from .command import LUBAN, served
from .tiny import write_tiny

ASK = {"rows": [{"text": "很好", "stars": 5}]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny(folder)
    return folder


@pytest.mark.parametrize(
    ("workers", "sign"), [("1", signal.SIGTERM), ("2", signal.SIGTERM), ("1", signal.SIGHUP), ("2", signal.SIGHUP)]
)
def test_drained(folder: Path, workers: str, sign: signal.Signals) -> None:
    settings = {"LUBAN__SERVE__DRAIN_S": "5", "LUBAN__SERVE__WORKERS": workers}
    with served("--bundle", folder, **settings) as (process, address), httpx.Client(base_url=address) as client:
        assert client.get("/ready").status_code == 200
        kept = client.post("/v1/predict", json=ASK)
        assert "connection" not in kept.headers
        process.send_signal(sign)
        ready = until(lambda: found if (found := client.get("/ready")).status_code != 200 else None)
        assert ready.json()["type"] == "urn:luban:problem:stopping"
        assert client.get("/health").status_code == 200

        def is_asked_to_close() -> bool:
            return client.post("/v1/predict", json=ASK).headers.get("connection") == "close"

        until(lambda: all(is_asked_to_close() for _ in range(8)))  # so that each worker has looked at its own state
        for _ in range(3):
            answer = client.post("/v1/predict", json=ASK)
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert answer.json()["answers"] == kept.json()["answers"]
        assert process.wait(30) == 0


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(folder: Path, sign: signal.Signals) -> None:
    with served("--bundle", folder, LUBAN__SERVE__DRAIN_S="3000") as (process, address):
        process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{address}/ready").status_code != 200)
        process.send_signal(sign)
        assert process.wait(30) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nohup_is_followed(folder: Path, workers: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with served("--bundle", folder, LUBAN__SERVE__WORKERS=workers) as (process, address):
            process.send_signal(signal.SIGHUP)
            for _ in range(20):
                assert httpx.get(f"{address}/ready").status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_bundle_is_served_with_settings_of_the_environment(folder: Path) -> None:
    with served("--bundle", folder, LUBAN__SERVE__MAX_ROWS="1") as (_, address):
        assert httpx.post(f"{address}/v1/predict", json={"rows": ASK["rows"] * 2}).status_code == 413


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LUBAN__SERVE__PROT", "1", "there is no field `serve.prot`. Did you mean `port`?"),
        ("LUBAN__SERVE__PORT", "high", "`serve.port` is refused"),
    ],
)
def test_wrong_settings_are_refused(folder: Path, name: str, value: str, said: str) -> None:
    done = subprocess.run(
        [LUBAN, "serve", "--bundle", folder],
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
