"""A released tiny bundle, its state, and servers over it: what tests of records, feedback, review and reasons share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from luban.bundle.manifest import TaskSpec
from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.origins import AliasOrigin
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

from .tiny import CLASSES, write_tiny

ADA = Actor("ada")
PASSED = [Verdict("G001", "Does it beat it?", "passed", "It does.")]


NUMBERS = TaskSpec(
    kind="regression",
    config={},
    head="real",
    width=1,
    decoding={
        "mean": 10.0,
        "scale": 2.0,
        "half_widths": {"0.5": 1.0, "0.8": 2.0, "0.9": 4.0, "0.95": None, "0.99": None},
    },
    target="label",
)
"""The tiny bundle as one that answers numbers."""
TAGS = TaskSpec(
    kind="tags",
    config={},
    head="binary",
    width=1,
    decoding={"classes": ["dear"], "temperature": 1.0, "temperatures": [1.0], "thresholds": [0.5]},
    target="label",
)


def released(folder: Path, bias: float = 0.0, task: TaskSpec = CLASSES, target: str = "category") -> Home:
    """A state in which `reviews` has one version."""
    home = Home(Store(folder / "store"), Ledger(folder / "ledger.db"))
    bundle = folder / "bundle"
    identity = write_tiny(bundle, bias, task=task, target=target).identity
    Registry(home.ledger, home.store).release(Release("reviews", home.store.publish(bundle), identity, PASSED), ADA)
    return home


@contextmanager
def server(home: Home, **sections: Any) -> Iterator[httpx.Client]:
    """A client of a running server of that state."""
    origin = AliasOrigin("reviews", "champion", Registry(home.ledger, home.store).resolve, home.store.fetch)
    config = ServeConfig.model_validate({"port": 0, **sections})
    with serving(origin, config, {}, home) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


def ask(client: httpx.Client, rows: list[dict[str, Any]], request_id: str = "", **more: Any) -> dict[str, Any]:
    """The body of an answer."""
    headers = {"x-request-id": request_id} if request_id else {}
    response = client.post("/v1/predict", json={"rows": rows, **more}, headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def tell(client: httpx.Client, *items: Any) -> list[dict[str, Any]]:
    """Results of feedback."""
    response = client.post("/v1/feedback", json={"feedback": list(items)})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found
