"""One undisturbed run that all tests of faults compare with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .project import Answer, Tiny


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to: its project, its answer, how long it took, what it released."""

    tiny: Tiny
    answer: Answer
    seconds: float
    identity: str

    @property
    def bundle(self) -> Path:
        """The released bundle's folder in the store."""
        return self.tiny.store.fetch(self.answer.events[-1]["version"]["tree"])


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    tiny = Tiny.made(tmp_path_factory.mktemp("undisturbed"))
    began = time.monotonic()
    answer = tiny.done("run", "--json")
    return Undisturbed(tiny, answer, time.monotonic() - began, answer.events[-1]["version"]["identity"])


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny.made(tmp_path / "project")
