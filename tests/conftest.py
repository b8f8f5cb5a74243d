"""What all tests share: the switch for long ones, and state that never leaks out of a test."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run tests that take long whatever one does")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        skip = pytest.mark.skip(reason="takes long; run with --long")
        for item in items:
            if "long" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the caller's Luban settings; the cache of packages stays, so that nothing is fetched twice."""
    for name in ("LUBAN_STORE", "LUBAN_LEDGER", "LUBAN_WORKSPACE", "LUBAN_API_KEY", "LUBAN_ACTOR"):
        monkeypatch.delenv(name, raising=False)
