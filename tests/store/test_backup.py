"""Backups while others write, restored elsewhere: everything that was committed before is there, and nothing half."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from luban.errors import StoreError
from luban.store.backup import LEDGER, STORE, back_up, restore
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.ledger import Ledger

WRITER = """
import sys
from pathlib import Path
from luban.store.home import Home
home = Home.open(Path(sys.argv[1]))
for number in range(10**6):
    tree = home.keep(f"key {number}", lambda folder: (folder / "file").write_text(f"content {number}") and None)
    with home.ledger.transaction() as tx:
        home.ledger.audit(tx, "ada", "test", f"object {number}", {"tree": tree.name})
    print(number, flush=True)
"""

SHORT = """
import resource, sys
from pathlib import Path
from luban.errors import StoreError
from luban.store.backup import restore
from luban.store.home import Home
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    restore(Path(sys.argv[1]), Home.open(Path(sys.argv[2])))
except StoreError as error:
    print(error)
"""


def made(folder: Path, num: int = 3) -> Home:
    home = Home.open(folder)
    for number in range(num):
        home.keep(f"key {number}", lambda at, number=number: (at / "file").write_text(f"content {number}") and None)  # type: ignore[misc]
        with home.ledger.transaction() as tx:
            home.ledger.audit(tx, "ada", "test", f"object {number}")
    home.store.put(b"a blob")
    return home


def test_under_writes_of_another_process(tmp_path: Path) -> None:
    live, to = tmp_path / "live", tmp_path / "backups"
    live.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(live)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as writer:
        assert writer.stdout is not None
        try:
            done = []
            for _ in range(3):
                known = int(writer.stdout.readline())
                done.append((known, back_up(Home.open(live), to, keep=10)))
        finally:
            writer.kill()
    for number, (known, backup) in enumerate(done):
        other = Home.open(tmp_path / f"other {number}")
        restored = restore(backup.folder, other)
        assert restored.num_entries == backup.num_entries >= known + 1
        other.ledger.verify_audit()
        for key in range(backup.num_entries - 1):  # the tree is kept before its entry is written
            folder = other.kept(f"key {key}")
            assert folder is not None
            assert (folder / "file").read_text() == f"content {key}"
            other.store.verify(folder.name)
        assert other.keep("one more", lambda at: (at / "new").write_text("written") and None)  # type: ignore[arg-type, return-value]


def test_what_is_known_is_linked_and_old_ones_go(tmp_path: Path) -> None:
    home, to = made(tmp_path / "live"), tmp_path / "backups"
    first = back_up(home, to, keep=2)
    home.keep("another", lambda at: (at / "file").write_text("new") and None)  # type: ignore[arg-type, return-value]
    second = back_up(home, to, keep=2)
    files = {path.relative_to(first.folder): path for path in (first.folder / STORE).rglob("*") if path.is_file()}
    assert len(files) == 4
    for relative, path in files.items():
        assert (second.folder / relative).stat().st_ino == path.stat().st_ino
    assert second.num_trees == first.num_trees + 1
    third = back_up(home, to, keep=2)
    assert third.removed == (first.folder.name,)
    assert sorted(path.name for path in to.iterdir()) == [second.folder.name, third.folder.name]
    assert restore(third.folder, Home.open(tmp_path / "other")).num_trees == 4
    assert Store(tmp_path / "other" / ".luban").read(home.store.put(b"a blob")) == b"a blob"


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    done = back_up(made(tmp_path / "live"), tmp_path / "backups", keep=1)
    assert done.folder.stat().st_mode & 0o077 == 0
    assert (done.folder / LEDGER).stat().st_mode & 0o077 == 0


def test_unfinished_work_is_left_out_and_leftovers_go(tmp_path: Path) -> None:
    home, to = made(tmp_path / "live"), tmp_path / "backups"
    (tmp_path / "live" / ".luban" / "default" / "tmp" / "half").write_text("half")
    (to / "2020-01-01T00-00-00.000000Z.partial").mkdir(parents=True)
    done = back_up(home, to, keep=1)
    assert not list(done.folder.rglob("half"))
    assert [path.name for path in to.iterdir()] == [done.folder.name]


def test_a_damaged_ledger_is_not_taken_for_a_backup(tmp_path: Path) -> None:
    home, to = made(tmp_path / "live"), tmp_path / "backups"
    back_up(home, to, keep=5)
    home.ledger.close()
    ledger = tmp_path / "live" / ".luban" / "ledger.db"
    data = bytearray(ledger.read_bytes())
    for at in range(4096 * 2, len(data), 4096):
        data[at : at + 64] = os.urandom(64)
    ledger.write_bytes(data)
    with pytest.raises(StoreError):
        back_up(Home.open(tmp_path / "live"), to, keep=5)
    assert len([path for path in to.iterdir() if not path.name.endswith(".partial")]) == 1


def test_a_changed_audit_trail_is_noticed(tmp_path: Path) -> None:
    import sqlite3

    home, to = made(tmp_path / "live"), tmp_path / "backups"
    done = back_up(home, to, keep=5)
    with sqlite3.connect(done.folder / LEDGER) as connection:
        connection.execute("UPDATE audit SET actor = 'eve' WHERE number = 2")
    with pytest.raises(StoreError, match="audit"):
        restore(done.folder, Home.open(tmp_path / "other"))


def test_nothing_is_restored_over_anything(tmp_path: Path) -> None:
    done = back_up(made(tmp_path / "live"), tmp_path / "backups", keep=5)
    with pytest.raises(StoreError, match="where nothing is"):
        restore(done.folder, made(tmp_path / "other"))
    with pytest.raises(StoreError, match="no backup"):
        restore(tmp_path, Home.open(tmp_path / "third"))


def test_a_backup_on_a_disk_that_cannot_be_written(tmp_path: Path, freezable: tuple[Path, Callable[[], None]]) -> None:
    """As a container mounts it: the ledger is one in WAL mode, whose readers write a file beside it, as a rule."""
    disk, freeze = freezable
    backup = back_up(made(tmp_path / "project"), disk / "backups", keep=5).folder
    freeze()
    (tmp_path / "other").mkdir()
    assert restore(backup, Home.open(tmp_path / "other")).num_entries == 3
    assert sorted(path.name for path in backup.iterdir()) == [LEDGER, STORE]


def test_what_a_disk_refuses_is_said_and_leaves_nothing_half_restored(tmp_path: Path) -> None:
    home = made(tmp_path / "live")
    home.keep("large", lambda at: (at / "file").write_bytes(bytes(50_000)) and None)
    done = back_up(home, tmp_path / "backups", keep=1)
    run = [sys.executable, "-c", SHORT, str(done.folder), str(tmp_path / "other")]
    said = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert "could not be written" in said.stdout, said.stdout + said.stderr
    assert not any(path.is_file() for path in (tmp_path / "other").rglob("*"))
    assert restore(done.folder, Home.open(tmp_path / "other")).num_trees == 4


def test_what_is_elsewhere_is_left_to_better_tools(tmp_path: Path) -> None:
    home = made(tmp_path / "live")
    with pytest.raises(StoreError, match="PostgreSQL"):
        back_up(Home(home.store, Ledger("postgresql://nobody@127.0.0.1:1/none")), tmp_path / "to", keep=1)
    with pytest.raises(StoreError, match="not on this machine"):
        back_up(Home(Store("memory://bucket"), home.ledger), tmp_path / "to", keep=1)
    with pytest.raises(StoreError, match="nothing to back up"):
        back_up(Home.open(tmp_path / "empty"), tmp_path / "to", keep=1)


def test_trees_that_are_dropped_meanwhile_stop_nothing(tmp_path: Path) -> None:
    home = made(tmp_path / "live", 1)
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            with home.store.scratch("test") as at:
                (at / "file").write_text(f"passing {number}")
                home.store.drop(home.store.publish(at))
            number += 1

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        found = [back_up(home, tmp_path / "to", keep=2) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    assert all(one.num_trees >= 1 for one in found)


def test_a_file_in_the_way(tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home")
    home.ledger.audit_head()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="cannot"):
        back_up(home, tmp_path / "file" / "backups", 3)
    assert (tmp_path / "file").read_text() == "mine"
