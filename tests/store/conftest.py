"""Stores, ledgers on both databases, victims that can be killed, and disks that are full or read-only."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from luban.store.blobs import Store
from luban.store.ledger import Ledger

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


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A PostgreSQL server of our own on a Unix socket; gives the URL of its first database."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    binaries = [*Path("/usr/lib/postgresql").glob("*/bin"), *(Path(p) for p in os.get_exec_path())]
    found = next((folder for folder in binaries if (folder / "initdb").is_file()), None)
    if found is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = {"user": "postgres"} if os.getuid() == 0 else {}  # the server refuses to run as root
    if user:
        shutil.chown(folder, "postgres")
    quiet = {"check": True, "capture_output": True, "cwd": folder, **user}
    subprocess.run([found / "initdb", "-D", folder / "data", "-U", "luban", "-A", "trust", "--no-sync"], **quiet)
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c max_connections=60"
    log = folder / "log"
    start = [found / "pg_ctl", "-D", folder / "data", "-o", options, "-l", log, "-w", "start"]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
    try:
        yield f"postgresql:///postgres?host={folder}&user=luban"
    finally:
        subprocess.run([found / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    import psycopg

    admin = request.getfixturevalue("postgresql")
    name = f"t{secrets.token_hex(4)}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield admin.replace("/postgres?", f"/{name}?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.close()


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
