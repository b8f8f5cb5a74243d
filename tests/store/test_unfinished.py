"""Unfinished work outlives a killed process whole, goes when its result is recorded, and does not pile up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from luban.errors import StoreError
from luban.store.blobs import Store
from luban.store.home import Home
from luban.store.unfinished import KEPT_S

from .conftest import Victim

Start = Callable[..., Victim]


def test_what_is_written_is_read_by_the_next_process(any_store: Store) -> None:
    place = any_store.unfinished("key")
    assert place.read() is None
    place.write(b"first")
    place.write(b"second")
    assert Store(any_store.url).unfinished("key").read() == b"second"
    assert any_store.unfinished("other").read() is None
    place.remove()
    place.remove()
    assert place.read() is None


@pytest.mark.parametrize("seed", range(4))
def test_killed_while_writing(seed: int, store: Store, victim: Start) -> None:
    running = victim("unfinished", store.url)
    promised = [running.line()]
    time.sleep(0.02 + 0.03 * seed)
    promised += running.kill()
    found = store.unfinished("key").read()
    assert found is not None
    number = found[0] + 256 * found[1]
    assert len(found) == 300_000 + number
    assert set(found[2:]) == {number % 256}
    assert int(promised[-1]) <= number <= int(promised[-1]) + 1
    with store.scratch() as folder:
        assert len(list(folder.parent.iterdir())) == 2, "half-written files are swept"


def test_it_goes_when_the_result_is_recorded(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    seen: list[bytes | None] = []

    def make(folder: Path) -> None:
        seen.append(home.unfinished("key").read())
        home.unfinished("key").write(b"half")
        (folder / "result").write_bytes(b"whole")
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        home.keep("key", make)
    assert home.unfinished("key").read() == b"half"
    home.keep("key", make)
    assert seen == [None, b"half"]
    assert home.unfinished("key").read() is None


def test_what_nobody_touched_for_a_week_is_swept(store: Store) -> None:
    old, young, asked = (store.unfinished(key) for key in ("old", "young", "asked"))
    for place, age_s in ((old, KEPT_S + 60), (young, KEPT_S - 60), (asked, KEPT_S + 60)):
        place.write(b"x")
        os.utime(place.path, (time.time() - age_s,) * 2)
    assert asked.read() == b"x", "what is asked for is never too old"
    assert not old.path.exists()
    assert young.path.exists()


def test_a_full_disk_leaves_the_last_whole_checkpoint(small_disk: Path) -> None:
    place = Store(small_disk / "store").unfinished("key")
    place.write(bytes(200_000))
    with pytest.raises(StoreError, match="disk is full"):
        place.write(bytes(4_000_000))
    assert place.read() == bytes(200_000)
    place.write(b"there is room again")
    assert place.read() == b"there is room again"
