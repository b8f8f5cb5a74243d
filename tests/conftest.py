"""What all tests share: the switch for long ones, state and logs that never leak, ledgers on both databases, disks that
are full or read-only.

Decided here, so that a run tells of the code and not of the machine: no generated example has a time to keep, a run
draws the same examples as the one before (`--hypothesis-profile=new` draws others), and assertions of modules beside
tests tell their values as those of tests do.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from luban.serve.watch.log import LOGGERS
from luban.store.ledger import Ledger

# Before any of them is imported: what stands beside tests is known by a name of its own, and by one below `tests`.
_BESIDE = {path.parent.name for path in Path(__file__).parent.glob("*/__init__.py")}
pytest.register_assert_rewrite("tests", "ports", "waiting", *sorted(_BESIDE))
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("new"), derandomize=True)
settings.load_profile("same")


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


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A test that sets up the server's log leaves none of it: its stream may be closed when the next one logs, and
    where records do not go on to the root logger, pytest listens there too and would catch each twice."""
    before = [(one, one.handlers, one.filters, one.propagate, one.level) for one in map(logging.getLogger, LOGGERS)]
    yield
    for logger, logger.handlers, logger.filters, logger.propagate, level in before:
        logger.setLevel(level)


def mount(options: str, folder: Path) -> None:
    """Mount a tmpfs, or skip and say why."""
    if shutil.which("mount") is None:
        pytest.skip("there is no `mount` here; the file-size limit is tested instead")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(
            f"a small disk cannot be mounted here ({done.stderr.strip()}); the file-size limit is tested instead"
        )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("size=2m", folder)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def freezable(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A folder, and what makes it read-only: another mount for root, whom permissions do not bind."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.getuid() == 0:
        mount("size=8m", folder)
        yield folder, lambda: subprocess.run(["mount", "-o", "remount,ro", folder], check=True) and None
        subprocess.run(["umount", "-l", folder], check=True)
        return
    yield folder, lambda: change_modes(folder, 0o555, 0o444)
    change_modes(folder, 0o755, 0o644)


def change_modes(folder: Path, of_folders: int, of_files: int) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(of_folders if path.is_dir() else of_files)


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


@pytest.fixture
def postgresql_database(postgresql: str) -> Iterator[str]:
    """The URL of a new, empty database on PostgreSQL."""
    import psycopg

    name = f"t{secrets.token_hex(4)}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield postgresql.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return str(request.getfixturevalue("postgresql_database"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    made = Ledger(ledger_url)
    yield made
    made.close()
