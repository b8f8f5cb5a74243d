"""Versions of a tiny model in a state of their own, servers that follow its deployments, and load."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from luban.policy.rules import Actor
from luban.release.deployments import Deployments
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.release.standing import Standing
from luban.serve.config import ServeConfig
from luban.serve.fleet.roster import roster
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.home import STATE, Home
from luban.store.ledger import Ledger
from waiting import BOUND_S, until

from .tiny import write_tiny

ADA = Actor("ada")
PASSED = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
PROJECT = """\
name: reviews
owner: team
purpose: Route unhappy guests to a person.
data: {source: rows.csv, target: label}
serve: {poll_s: 0.05, traffic: {write_s: 0.1}}
"""
FAST = {"port": 0, "poll_s": 0.05, "traffic": {"write_s": 0.1}}


class House:
    """A project's state with released versions of `reviews`; 1 is champion."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "luban.yaml").write_text(PROJECT, "utf-8")
        self.home = Home(Store(folder / STATE), Ledger(folder / STATE / "ledger.db"))
        self.registry = Registry(self.home.ledger, self.home.store)
        self.deployments = Deployments(self.home.ledger, self.registry)

    def release(self, bias: float = 0.0, false_identity: bool = False, ballast_mb: int = 0) -> int:
        """One more version; a large negative bias is always "bad", a positive one always "good"."""
        number = len(self.registry.versions("reviews")) + 1
        bundle = self.folder / f"bundle-{number}"
        identity = write_tiny(bundle, bias + number * 1e-6, ballast_mb=ballast_mb).identity
        identity = "f" * 64 if false_identity else identity
        self.registry.release(Release("reviews", self.home.store.publish(bundle), identity, PASSED), ADA)
        return number

    def release_without(self, column: str) -> int:
        """A version whose schema does not know a column that clients may send."""
        number = len(self.registry.versions("reviews")) + 1
        bundle = self.folder / f"bundle-{number}"
        identity = write_tiny(bundle, number * 1e-6, left_out=column).identity
        self.registry.release(Release("reviews", self.home.store.publish(bundle), identity, PASSED), ADA)
        return number

    @property
    def now(self) -> Standing:
        return self.deployments.read("reviews")

    def trail(self, verb: str) -> list[tuple[str, str]]:
        """Who did it and why, newest first."""
        rows = self.deployments.history("reviews")
        return [(row["actor"], row["detail"].get("reason", "")) for row in rows if row["verb"] == verb]

    @contextmanager
    def server(self, **sections: Any) -> Iterator[str]:
        """The address of a server in a thread."""
        config = ServeConfig.model_validate({**FAST, **sections})
        with serving(roster("reviews", config, self.home), config, {}, self.home) as address:
            until_served(address)
            yield address

    def start(self, *more: str) -> tuple[subprocess.Popen[str], str]:
        """A server in a process of its own, and its address."""
        command = [sys.executable, "-m", "luban", "serve", "--project", str(self.folder), "--port", "0", "--json"]
        process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it ended: what it said is on standard error"
        address: str = json.loads(line)["address"]
        until_served(address)
        return process, address


def until_served(address: str) -> None:
    """Wait until a model answers."""
    until(lambda: httpx.get(f"{address}/ready", timeout=BOUND_S).status_code == 200, f"{address} to be ready")


class Load:
    """Clients that ask until they are stopped; `failures` holds every answer that was none."""

    def __init__(self, addresses: list[str], clients: int = 2, row: dict[str, Any] | None = None) -> None:
        self.versions: Counter[int] = Counter()
        self.failures: list[str] = []
        self.asked: list[tuple[str, int]] = []
        """Request id and version of each answer."""
        self._row = row or {"text": "很好", "stars": 4}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(addresses[number % len(addresses)], number))
            for number in range(clients)
        ]

    def _ask(self, address: str, client: int) -> None:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
        body = json.dumps({"rows": [self._row]})
        number = 0
        while not self._stop.is_set():
            number += 1
            request_id = f"c{client}-{number}"
            try:
                headers = {"content-type": "application/json", "x-request-id": request_id}
                connection.request("POST", "/v1/predict", body, headers)
                response = connection.getresponse()
                found = json.loads(response.read())
                if response.status != 200:
                    self.failures.append(f"{response.status}: {found}")
                    continue
                self.versions[found["version"]] += 1
                self.asked.append((request_id, found["version"]))
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def tell_truth(client: httpx.Client, asked: list[tuple[str, int]], truth: Callable[[int], Any]) -> None:
    """Post the truth of answers; `truth` gives it for a version."""
    for start in range(0, len(asked), 100):
        items = [
            {"request_id": one, "position": 0, "truth": truth(version)} for one, version in asked[start : start + 100]
        ]
        response = client.post("/v1/feedback", json={"feedback": items})
        assert response.status_code == 200, response.text


__all__ = ["ADA", "House", "Load", "tell_truth", "until_served"]
