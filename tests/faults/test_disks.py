"""A full or read-only disk: an error that says so and what to do, nothing half-written, and it goes on afterwards."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Undisturbed
from .project import Tiny, check_whole, finish

FREE_KB = (0, 16, 64, 120, 180, 240)
FULL = ("error: ", "disk is full", "Free some space", "run the same")


def on(disk: Path, folder: Path, ledger_too: bool = False) -> Tiny:
    """A project whose store (and ledger) lies on `disk`."""
    tiny = Tiny.made(folder)
    tiny.env["LUBAN_STORE"] = str(disk / "store")
    if ledger_too:
        tiny.env["LUBAN_LEDGER"] = f"sqlite:///{disk}/ledger.db"
    return tiny


def leave(disk: Path, free_kb: int) -> Path:
    """Fill the disk but for some kilobytes; gives the file to remove."""
    filler = disk / "filler"
    with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:  # noqa: PT012
        while True:
            file.write(bytes(4096))
    size = filler.stat().st_size - free_kb * 1024
    with filler.open("r+b") as file:
        file.truncate(max(size, 0))
    return filler


@pytest.mark.parametrize("free_kb", FREE_KB)
def test_a_full_disk(free_kb: int, small_disk: Path, tmp_path: Path, undisturbed: Undisturbed) -> None:
    tiny = on(small_disk, tmp_path / "project")
    filler = leave(small_disk, free_kb)
    said = tiny.fails("run", says=FULL)
    assert str(small_disk) in said
    check_whole(tiny)
    before = tiny.results()
    filler.unlink()
    answer = tiny.done("run", "--json")
    assert answer.events[-1]["version"]["identity"] == undisturbed.identity
    assert before.items() <= tiny.results().items(), "what was done before the disk was full is kept"
    check_whole(tiny)


@pytest.mark.parametrize("free_kb", [100, 300])
def test_a_full_disk_under_the_ledger_too(
    free_kb: int, small_disk: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    tiny = on(small_disk, tmp_path / "project", ledger_too=True)
    filler = leave(small_disk, free_kb)
    tiny.fails("run", says=FULL)
    filler.unlink()
    answer = tiny.done("run", "--json")
    assert answer.events[-1]["version"]["identity"] == undisturbed.identity


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_limit_on_file_sizes(limit: int, tmp_path: Path, undisturbed: Undisturbed) -> None:
    """Where there is no small disk, or beside it: a store whose files may not grow."""
    tiny = Tiny.made(tmp_path / "project")
    tiny.done("models", "list")  # so that the ledger is there; its pages are larger than the smaller limit

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    answer = finish(tiny.start("run", preexec_fn=limited))
    assert answer.status == 1, answer.err
    assert "Traceback" not in answer.err
    assert "error: " in answer.err
    assert "ulimit -f" in answer.err or "limits on file sizes" in answer.err
    assert tiny.done("run", "--json").events[-1]["version"]["identity"] == undisturbed.identity
    check_whole(tiny)


def test_a_read_only_store(
    freezable: tuple[Path, Callable[[], None]], tmp_path: Path, undisturbed: Undisturbed
) -> None:
    disk, freeze = freezable
    tiny = on(disk, tmp_path / "project")
    (disk / "store").mkdir()
    freeze()
    said = tiny.fails("run", says=["error: ", "read-only" if is_mount(disk) else "permission", str(disk)])
    assert "Keep the state in a folder that can be written" in said or "Give this user the right" in said


def test_a_released_model_is_used_from_a_read_only_disk(
    freezable: tuple[Path, Callable[[], None]], undisturbed: Undisturbed
) -> None:
    disk, freeze = freezable
    tiny = undisturbed.tiny.copy(disk / "project")
    wanted = tiny.done("predict", "rows.csv", "-").out
    freeze()
    assert tiny.versions()[0]["aliases"] == "champion"
    assert tiny.done("predict", "rows.csv", "-").out == wanted
    tiny.fails("predict", "rows.csv", "answers.csv", says=["error: ", "answers.csv"])
    tiny.fails("run", says=["error: ", "read-only" if is_mount(disk) else "permission"])


def is_mount(folder: Path) -> bool:
    return subprocess.run(["mountpoint", "-q", folder]).returncode == 0
