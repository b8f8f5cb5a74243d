"""Stores, victims that can be killed, and disks that are full or read-only."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from luban.store.blobs import Store

VICTIM = Path(__file__).with_name("victim.py")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(params=["folder", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    if request.param == "folder":
        return Store(tmp_path / "store")
    monkeypatch.setenv("LUBAN_CACHE", str(tmp_path / "cache"))
    return Store(f"memory://{secrets.token_hex(4)}")


class Victim:
    """A process that runs a loop of `victim.py`, and can be killed at any instant."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, str(VICTIM), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)

    @property
    def out(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def line(self) -> str:
        return self.out.readline().strip()

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def kill(self) -> list[str]:
        """kill -9, and the whole lines that were printed and not read yet."""
        self.process.kill()
        rest = self.out.read()
        self.process.wait()
        return rest[: rest.rfind("\n") + 1].split("\n")[:-1]


@pytest.fixture
def victim() -> Iterator[Callable[..., Victim]]:
    made: list[Victim] = []

    def start(*arguments: object) -> Victim:
        made.append(Victim(*map(str, arguments)))
        return made[-1]

    yield start
    for one in made:
        one.process.kill()
        one.process.communicate()
