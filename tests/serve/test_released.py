"""The real registry: a promotion reaches a running server, a damaged version does not."""

from __future__ import annotations

from pathlib import Path

import httpx

from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import AliasOrigin
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.ledger import Ledger
from waiting import until

from .tiny import write_tiny

ADA = Actor("ada")
PASSED = [Verdict("G001", "Does it beat it?", "passed", "It does.")]


def test_a_server_follows_the_champion(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    registry = Registry(Ledger(tmp_path / "ledger.db"), store)

    def release(number: int, false_identity: bool = False) -> None:
        folder = tmp_path / f"bundle-{number}"
        identity = write_tiny(folder, bias=float(number)).identity
        identity = "f" * 64 if false_identity else identity
        registry.release(Release("reviews", store.publish(folder), identity, PASSED), ADA)

    origin = AliasOrigin("reviews", "champion", registry.resolve, store.fetch)
    with (
        serving(origin, ServeConfig(port=0, poll_s=0.05), {}) as address,
        httpx.Client(base_url=address, timeout=10) as client,
    ):

        def version() -> int | None:
            response = client.post("/v1/predict", json={"rows": [{"text": "很好"}]})
            return response.json()["version"] if response.status_code == 200 else None

        assert "Nothing is released yet" in client.get("/ready").json()["detail"]
        release(1)
        until(lambda: version() == 1)
        release(2)
        registry.promote("reviews", 2, ADA)
        until(lambda: version() == 2)
        release(3, false_identity=True)
        registry.promote("reviews", 3, ADA)
        until(lambda: "Version 3 of `reviews` is refused" in (client.get("/ready").json()["newest_refused"] or ""))
        assert version() == 2
        registry.rollback("reviews", ADA)
        until(lambda: client.get("/ready").json()["newest_refused"] is None)
        assert version() == 2
