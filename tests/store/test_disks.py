"""Disks that are full, limited or read-only: a clear error, nothing half-written, and it goes on afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from luban.errors import StoreError
from luban.store.blobs import Store
from luban.store.ledger import Ledger

from .conftest import Victim


def unfinished(store: Store) -> list[Path]:
    return list((Path(store.url) / "default" / "tmp").iterdir())


def test_a_full_disk_leaves_the_store_whole(small_disk: Path, tmp_path: Path) -> None:
    store = Store(small_disk / "store")
    kept = store.put(bytes(300_000))
    big = tmp_path / "big"
    big.mkdir()
    (big / "a").write_bytes(bytes(100_000))
    (big / "b").write_bytes(bytes(4_000_000))
    with pytest.raises(StoreError, match=r"disk is full \(.* free\)") as caught:
        store.put(bytes(4_000_000))
    assert "run the same again" in caught.value.hint
    with pytest.raises(StoreError, match="disk is full"):
        store.publish(big)
    assert unfinished(store) == []
    assert len(list((small_disk / "store").rglob("*/*/*/*"))) == 1
    store.verify(kept)
    store.put(b"there is room again")


def fill(disk: Path) -> Path:
    """Use up all space, to the last page."""
    with pytest.raises(OSError, match="No space"), (disk / "filler").open("wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(bytes(4096))
    return disk / "filler"


def test_no_byte_left(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.put(b"makes the folders")
    filler = fill(small_disk)
    with pytest.raises(StoreError, match="disk is full"):
        store.put(b"a few bytes, which wait in a buffer until they are flushed")
    assert unfinished(store) == []
    filler.unlink()
    store.put(b"a few bytes")


def test_a_full_disk_leaves_the_ledger_whole(small_disk: Path) -> None:
    ledger = Ledger(small_disk / "ledger.db")
    ledger.record("first", 1)
    filler = fill(small_disk)
    with pytest.raises(StoreError, match=r"ledger could not be written .* disk is full"):
        ledger.record("second", "x" * 100_000)
    filler.unlink()
    assert ledger.result("second") is None
    ledger.record("second", "x" * 100_000)
    assert (ledger.result("first"), len(ledger.result("second"))) == (1, 100_000)
    ledger.verify_audit()


def test_a_limit_on_file_sizes_is_an_error_that_says_so(tmp_path: Path, victim: Callable[..., Victim]) -> None:
    running = victim("limited", tmp_path)
    assert "larger than allowed" in running.line()
    assert Store(tmp_path / "store").read(running.line()) == b"small"
    assert "ledger could not be written" in running.line()
    assert running.process.wait() == 0
    assert unfinished(Store(tmp_path / "store")) == []
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.result("small") == 1
    ledger.record("after", 2)


@pytest.mark.parametrize("killed", [False, True])
def test_a_read_only_disk_can_be_read(
    freezable: tuple[Path, Callable[[], None]], victim: Callable[..., Victim], killed: bool
) -> None:
    disk, freeze = freezable
    store, ledger = Store(disk / "store"), Ledger(disk / "ledger.db")
    sha = store.put(b"x")
    with store.scratch() as folder:
        (folder / "f").write_bytes(b"x")
        tree = store.publish(folder)
    ledger.record("key", 1)
    ledger.close()
    if killed:  # so that the write-ahead log stays, with entries that are nowhere else
        running = victim("release", disk / "ledger.db")
        assert [running.line(), running.line()] == ["ready", "1"]
        running.kill()
        assert (disk / "ledger.db-wal").stat().st_size > 0
    freeze()
    assert bool(Ledger(disk / "ledger.db").audit_entries()) == killed
    assert store.read(sha) == b"x"
    assert (store.fetch(tree) / "f").read_bytes() == b"x"
    assert store.put(b"x") == sha, "nothing needs to be written"
    assert Ledger(disk / "ledger.db").result("key") == 1
    for attempt in (
        lambda: store.put(b"new"),
        lambda: store.drop(tree),
        lambda: store.drop(sha),
        lambda: store.scratch().__enter__(),
        lambda: Ledger(disk / "ledger.db").record("new", 1),
        lambda: Ledger(disk / "other.db").result("key"),
        lambda: Ledger(disk / "folder" / "other.db").result("key"),
    ):
        with pytest.raises(StoreError, match=r"read-only|permission is denied|cannot be opened"):
            attempt()
    store.verify(tree)
