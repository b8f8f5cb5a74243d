"""Schemathesis over the OpenAPI of a real server with a project: generated requests, none may fail or lie.

What is checked, and what is not, is said where the requests are made: `benchmarks/openapi_calls.py`, which makes
a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from benchmarks.openapi_calls import calls, known_parts

from luban.policy.rules import Actor
from luban.release.gates.base import Verdict
from luban.release.registry import Registry, Release
from luban.serve.config import ServeConfig
from luban.serve.fleet.live import AliasOrigin
from luban.serve.server import serving
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

from .tiny import write_tiny

pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("project")
    home = Home(Store(folder / "store"), Ledger(folder / "ledger.db"))
    identity = write_tiny(folder / "bundle").identity
    registry = Registry(home.ledger, home.store)
    passed = [Verdict("G001", "Does it beat it?", "passed", "It does.")]
    registry.release(Release("reviews", home.store.publish(folder / "bundle"), identity, passed), Actor("ada"))
    origin = AliasOrigin("reviews", "champion", registry.resolve, home.store.fetch)
    config = ServeConfig.model_validate({"port": 0, "jobs": {"workers": 0, "max_waiting": 100_000}})
    with serving(origin, config, {}, home) as found:
        yield found
    home.ledger.close()


@pytest.mark.parametrize("wanted", [120, pytest.param(2000, marks=pytest.mark.long)])
def test_calls_that_are_made_of_the_description(address: str, wanted: int) -> None:
    seen = calls(address, wanted, known_parts(address))
    assert seen.total() >= wanted * 0.9
    assert seen[500] == 0
    assert seen[200] > wanted / 5, "it did not only ask for what is refused"
