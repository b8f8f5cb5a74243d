"""A project with two released versions; the first is champion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..deploying import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.release()
    made.release(bias=9.0)
    yield made
    made.home.ledger.close()
