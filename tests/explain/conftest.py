"""Small bundles for explainers to look at."""

from __future__ import annotations

import pytest

from luban.bundle.bundle import Bundle
from luban.checks.explainers import made_bundle


@pytest.fixture(scope="session")
def linear() -> Bundle:
    """A text, a number and a category decide between bad and good."""
    return made_bundle(0)


@pytest.fixture(scope="session")
def trees() -> Bundle:
    """Two numbers, of which one decides."""
    return made_bundle(1)
