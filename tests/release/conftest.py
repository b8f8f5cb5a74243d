"""One trained project for all tests of gates and reports."""

from __future__ import annotations

import pytest

from luban.release.gates.base import Case

from .made import make_case


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    pytest.importorskip("sklearn")
    return make_case(tmp_path_factory.mktemp("tickets"))
