"""Memory of loaded bundles: measured, bounded, given back for real, and never what a question holds."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luban.errors import BundleError, ReleaseError
from luban.serve.fleet.live import LiveBundle
from luban.serve.fleet.memory import MB, Memory, MemoryConfig, hand_back, private_bytes
from luban.serve.fleet.origins import FolderOrigin, Lineup, Wanted, WantedArm
from luban.serve.fleet.routing import Picked

from ..conftest import FakeBundle
from ..tiny import write_tiny

ROWS = [{"text": "很好", "stars": 4.0}, {"text": "隔音太差"}]


class Machine:
    """Bundles of known sizes, a memory that shrinks when they die, and a clock that stands still."""

    def __init__(self, max_mb: float | None = None, idle_s: float | None = None, spare_s: float = 60.0) -> None:
        self.now = 0.0
        self.private = 0
        self.alive: weakref.WeakSet[FakeBundle] = weakref.WeakSet()
        self.sizes: dict[str, int] = {}
        config = MemoryConfig(max_mb=max_mb, idle_s=idle_s, spare_s=spare_s)
        self.memory = Memory(config, lambda: self.now, lambda: self.private)

    def live(self, name: str, *sizes_mb: int) -> LiveBundle:
        """A model whose versions have these sizes; its first answers."""
        for number, size in enumerate(sizes_mb, 1):
            self.sizes[f"{name}-{number}"] = size * MB
        return LiveBundle(Versions(name), 1.0, self._load, self.memory)  # type: ignore[arg-type]

    def _load(self, folder: Path) -> FakeBundle:
        bundle = FakeBundle(folder.name)
        bundle.manifest.name = folder.name.partition("-")[0]
        size = self.sizes[folder.name]
        if size < 0:
            raise BundleError("it is damaged")
        self.private += size
        self.alive.add(bundle)
        weakref.finalize(bundle, self._died, size)
        return bundle

    def _died(self, size: int) -> None:
        self.private -= size

    def names(self) -> set[str]:
        return {bundle.identity for bundle in self.alive}


class Versions:
    """An origin: arms by version and weight, as a test says."""

    moves = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.arms: Sequence[tuple[int, float]] = ((1, 1.0),)
        self.shadows: Sequence[int] = ()

    def numbered(self, number: int) -> Wanted:
        if number > 9:
            raise ReleaseError(f"There is no version {number}.")
        return Wanted(f"{self.name}-{number}", self.name, number)

    def look(self) -> Lineup:
        arms = tuple(WantedArm(f"arm {number}", self.numbered(number), weight) for number, weight in self.arms)
        return Lineup(arms, tuple(WantedArm(f"shadow {number}", self.numbered(number)) for number in self.shadows))

    def fetch(self, wanted: Wanted) -> Path:
        return Path(wanted.key)


def origin(live: LiveBundle) -> Versions:
    found: Any = live._origin
    assert isinstance(found, Versions)
    return found


def states(*lives: LiveBundle) -> list[str]:
    return [live.state for live in lives]


def test_a_bundle_that_is_given_back_is_really_gone(tmp_path: Path) -> None:
    if private_bytes() is None:
        pytest.skip("this system does not tell how much memory is a process's own")
    write_tiny(tmp_path / "heavy", ballast_mb=40)
    memory = Memory()
    live = LiveBundle(FolderOrigin(tmp_path / "heavy"), 1.0, memory=memory)
    live.start()
    assert live.now is not None
    answers = live.now.bundle.predict(ROWS).rows()
    cost = live.now.cost_bytes
    assert cost >= 40 * MB
    gc.collect()
    hand_back()
    loaded = private_bytes() or 0
    with memory.turn:
        assert live.shelf.rest()
    assert live.state == "idle"
    assert loaded - (private_bytes() or 0) > 0.9 * cost
    assert live.wake().arms[0].served.bundle.predict(ROWS).rows() == answers
    assert (private_bytes() or 0) - loaded < 0.1 * cost


def test_where_the_system_does_not_tell_the_files_are_taken_three_times(tmp_path: Path) -> None:
    write_tiny(tmp_path / "bundle", ballast_mb=1)
    live = LiveBundle(FolderOrigin(tmp_path / "bundle"), 1.0, memory=Memory(private=lambda: None))
    live.start()
    size = sum(path.stat().st_size for path in (tmp_path / "bundle").rglob("*") if path.is_file())
    assert live.now is not None
    assert live.now.cost_bytes == pytest.approx(3 * size, rel=0.01)
    assert size > MB


def test_what_was_asked_the_longest_ago_goes_first() -> None:
    machine = Machine(max_mb=100)
    a, b, c = (machine.live(name, 40) for name in "abc")
    for live in (a, b):
        machine.now += 1
        live.check()
    machine.now += 1
    a.shelf.touch()
    c.check()
    assert states(a, b, c) == ["loaded", "idle", "loaded"]
    assert machine.names() == {"a-1", "c-1"}
    b.wake()
    assert states(a, b, c) == ["idle", "loaded", "loaded"]
    assert (machine.memory.num_unloaded, machine.memory.used_bytes()) == (2, 80 * MB)
    assert [live.num_loaded for live in (a, b, c)] == [1, 2, 1]


def test_what_a_question_holds_stays_until_it_is_answered() -> None:
    machine = Machine(max_mb=50)
    a, b = machine.live("a", 40), machine.live("b", 40)
    a.check()
    assert a.routing is not None
    held: Picked | None = a.routing.pick("somebody")
    b.check()
    assert states(a, b) == ["loaded", "loaded"]
    held = None
    machine.memory.sweep()
    assert states(a, b) == ["idle", "loaded"]
    assert machine.names() == {"b-1"}
    assert held is None


def test_an_error_that_holds_a_bundle_in_a_circle_does_not_hold_it_for_ever() -> None:
    machine = Machine(max_mb=50)
    a, b = machine.live("a", 40), machine.live("b", 40)
    a.check()

    def fail() -> None:
        picked = a.routing.pick("x")  # type: ignore[union-attr]
        try:
            raise RuntimeError(picked.arm.name)
        except RuntimeError as error:
            kept = error
            assert kept.__traceback__ is not None

    fail()
    b.check()
    assert states(a, b) == ["idle", "loaded"]


def test_what_is_larger_than_the_ceiling_is_refused() -> None:
    machine = Machine(max_mb=50)
    live = machine.live("a", 40, 60)
    live.check()
    origin(live).arms = ((2, 1.0),)
    for _ in range(3):
        live.check()
    assert "It takes 60 MB loaded, but `serve.memory.max_mb` is 50." in live.reason
    assert live.reason.endswith("Version 1 stays.")
    assert (live.state, live.num_refused, machine.names()) == ("loaded", 1, {"a-1"})


def test_an_exchange_goes_beyond_the_ceiling_for_a_moment_only() -> None:
    machine = Machine(max_mb=50)
    live = machine.live("a", 40, 45)
    live.check()
    origin(live).arms = ((2, 1.0),)
    live.check()
    assert live.now is not None
    assert (live.now.version, live.shelf.spares(), machine.names()) == (2, [], {"a-2"})


def test_one_load_however_many_arms_and_shadows_use_a_version() -> None:
    machine = Machine()
    live = machine.live("a", 10, 20, 30)
    origin(live).arms, origin(live).shadows = ((1, 0.5), (2, 0.3), (2, 0.2)), (2, 3)
    origin(live).look()
    live.check()
    assert (live.num_loaded, machine.memory.used_bytes()) == (3, 60 * MB)
    origin(live).arms, origin(live).shadows = ((1, 0.1), (3, 0.9)), ()
    live.check()
    assert live.num_loaded == 3
    assert [served.version for served in live.shelf.spares()] == [2]


def test_a_version_that_left_is_a_spare_for_a_while_and_comes_back_at_once() -> None:
    machine = Machine(spare_s=10)
    live = machine.live("a", 10, 20)
    live.check()
    for number in (2, 1, 2):
        origin(live).arms = ((number, 1.0),)
        live.check()
        assert live.now is not None
        assert live.now.version == number
    assert (live.num_loaded, machine.names()) == (2, {"a-1", "a-2"})
    machine.now += 9.9
    machine.memory.sweep()
    assert machine.names() == {"a-1", "a-2"}
    machine.now += 0.1
    machine.memory.sweep()
    assert machine.names() == {"a-2"}


def test_idle_models_are_unloaded_and_a_refused_version_stays_refused() -> None:
    machine = Machine(idle_s=5)
    a, b = machine.live("a", 10, -1), machine.live("b", 10)
    for live in (a, b):
        live.check()
    origin(a).arms = ((2, 1.0),)
    a.check()
    refused = "Version 2 of `a` is refused: it is damaged Version 1 stays."
    assert a.reason == refused
    machine.now += 3
    b.shelf.touch()
    machine.now += 2
    machine.memory.sweep()
    assert states(a, b) == ["idle", "loaded"]
    a.check()
    assert a.wake().arms[0].served.version == 1
    a.check()
    assert (a.state, a.reason, a.num_refused) == ("loaded", refused, 1)


def test_at_the_start_what_finds_no_room_is_left_idle() -> None:
    machine = Machine(max_mb=100)
    machine.memory._known = {f"{name} {name}-1": 40 * MB for name in "abc"}
    lives = [machine.live(name, 40) for name in "abc"]
    for live in lives:
        live.check(lazily=True)
    assert states(*lives) == ["loaded", "loaded", "idle"]
    assert [live.num_loaded for live in lives] == [1, 1, 0]


STEP = st.tuples(st.sampled_from(["ask", "hold", "release", "sweep", "move", "number", "wait"]), st.integers(0, 2))


@given(steps=st.lists(STEP, max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_is_asked_the_ceiling_holds_and_nothing_that_is_held_dies(steps: list[tuple[str, int]]) -> None:
    machine = Machine(max_mb=100, idle_s=20, spare_s=5)
    lives = [machine.live(name, 30, 40) for name in "abc"]
    for live in lives:
        live.check()
    held: list[Picked] = []
    for what, which in steps:
        live = lives[which]
        machine.now += 1
        if what in ("ask", "hold"):
            picked = (live.routing or live.wake()).pick("x")
            live.shelf.touch()
            held += [picked] if what == "hold" else []
            del picked
        elif what == "number":
            live.load_numbered(2)
        elif what == "move":
            origin(live).arms = ((3 - origin(live).arms[0][0], 1.0),)
            live.check()
        elif what == "wait":
            machine.now += 6
        elif what == "release":
            held.clear()
            machine.memory.sweep()
        else:
            machine.memory.sweep()
        for one in held:
            shelf = next(live for live in lives if live.name == one.arm.served.name).shelf
            assert any(served is one.arm.served for served in shelf.held().values()), "it was given back"
        if not held:
            machine.memory.sweep()
            assert machine.memory.used_bytes() <= 100 * MB
            assert machine.memory.used_bytes() == machine.private, "what is not on the account is not in memory"
        assert all(live.state != "refused" for live in lives)
