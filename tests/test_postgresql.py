"""The whole life of a model with its facts on PostgreSQL and its files outside of the project's folder."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from luban.cli.main import app
from luban.errors import StoreError
from luban.store.backup import back_up
from luban.store.home import Home
from waiting import until

PROJECT = """\
name: parts
owner: line-team
purpose: Find bad parts.
data: {source: rows.csv, target: bad}
train: {models: [linear], num_threads: 1}
evaluate: {num_resamples: 200}
explain: {methods: []}
serve: {poll_s: 0.1, jobs: {poll_s: 0.1}, review: {below: 1.0}}
"""


@dataclass(frozen=True)
class House:
    """A project whose state lies elsewhere, as the environment says."""

    folder: Path

    def said(self, *words: str) -> list[dict[str, Any]]:
        """What a command that went well says as JSON."""
        done = CliRunner().invoke(app, [*words, "--project", str(self.folder), "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def serving(self, workers: int) -> Iterator[httpx.Client]:
        """A server; ended by SIGTERM, with status 0."""
        command = [sys.executable, "-m", "luban", "serve", "--port", "0", "--workers", str(workers), "--json"]
        process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None
            with httpx.Client(base_url=json.loads(process.stdout.readline())["address"], timeout=60) as client:
                yield client
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait(30)


@pytest.fixture
def house(tmp_path: Path, postgresql_database: str, monkeypatch: pytest.MonkeyPatch) -> House:
    folder, chance = tmp_path / "project", random.Random(1)
    folder.mkdir()
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["width", "height", "bad"])
        for number in range(240):
            side = number % 2
            rows.writerow([f"{chance.gauss(side, 0.5):.3f}", f"{chance.gauss(0, 1):.3f}", ("no", "yes")[side]])
    (folder / "luban.yaml").write_text(PROJECT)
    monkeypatch.setenv("LUBAN_LEDGER", postgresql_database)
    monkeypatch.setenv("LUBAN_STORE", str(tmp_path / "store"))
    return House(folder)


def version_of(client: httpx.Client) -> int:
    """Which version answers a row."""
    answered = client.post("/v1/predict", json={"rows": [{"width": 0.1, "height": 0.2}]})
    return int(answered.raise_for_status().json()["version"])


def test_a_whole_life(house: House) -> None:
    house.said("run")
    again = [event for event in house.said("run") if event.get("event") == "verb"]
    assert all(event["kept"] for event in again if event["verb"] != "release")
    house.said("run", "--set", "train.models=[{kind: linear, c: 0.01}]", "--set", "release.promote=never")
    assert [row["version"] for row in house.said("models", "list")[0]["versions"]] == [2, 1]

    with house.serving(workers=2) as client:
        asked = {"rows": [{"width": 1.4, "height": 0.0}, {"width": -0.4, "height": 1.0}]}
        client.post("/v1/predict", json=asked, headers={"x-request-id": "first"}).raise_for_status()
        told = [{"request_id": "first", "position": n, "truth": "yes"} for n in range(2)]
        client.post("/v1/feedback", json={"feedback": told}).raise_for_status()
        until(lambda: [known["judged"] for known in house.said("feedback", "show")[0]["known"]] == [2])
        assert house.said("reviews", "list")[0]["counts"]["told"] == 2, "their truth is known"

        content, kind = (house.folder / "rows.csv").read_bytes(), {"content-type": "text/csv"}
        job = client.post("/v1/jobs", content=content, headers=kind).raise_for_status().json()["id"]
        until(lambda: client.get(f"/v1/jobs/{job}").json()["status"] == "done")
        assert client.get(f"/v1/jobs/{job}/result").raise_for_status().text.count("\n") == 241

        house.said("deployments", "weights", "challenger=0.9")
        until(lambda: version_of(client) == 2)
        house.said("deployments", "rollback")
        until(lambda: version_of(client) == 1)
        house.said("deployments", "promote", "challenger")
        until(lambda: version_of(client) == 2)

    assert house.said("models", "history")[0]["history"]
    assert not (house.folder / ".luban").exists()
    with pytest.raises(StoreError, match="pg_dump"):
        back_up(Home.open(house.folder), house.folder / "copies", 1)
