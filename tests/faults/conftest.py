"""One undisturbed run that all tests of faults compare with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from .project import Answer, Tiny


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing happened to, started from nothing: its project, its answer, what it released.

    `seconds`: how long the same takes where the imports are done.
    """

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
    answer = tiny.done("run", "--json", cold=True)
    again = Tiny.made(tmp_path_factory.mktemp("again"))
    again.done("schema")  # so that the imports are done
    began = time.monotonic()
    again.done("run", "--json")
    return Undisturbed(tiny, answer, time.monotonic() - began, answer.events[-1]["version"]["identity"])


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny.made(tmp_path / "project")
