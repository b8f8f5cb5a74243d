"""The versions that answer for one model, and how they are exchanged while requests run.

A background thread looks where the bundles come from (`origins`). When another lineup is wanted there, what
is not loaded yet is loaded, audited and self-tested beside what answers, then all is exchanged by one assignment:
a request keeps the bundle that it began with. A bundle that cannot be loaded is refused with its reason, and not
tried again until another is wanted; what answered before stays. A store or ledger that cannot be reached for a
while is asked again at the next look.

What is loaded lies on the model's `shelf`, from which `memory` may give it back: the model is idle then, and `wake`
loads it again. Whatever is loaded here is so by whoever has `Memory.turn`; reading needs no lock.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from luban.errors import BundleError, LubanError, ServeError, StoreError
from luban.serve.fleet.memory import MB, Memory
from luban.serve.fleet.origins import AliasOrigin, FolderOrigin, Lineup, Origin, Wanted
from luban.serve.fleet.routing import Routing
from luban.serve.fleet.served import Served, import_libraries, num_bytes, try_out
from luban.serve.fleet.shelf import Shelf, cost_of, routing_of

if TYPE_CHECKING:
    from luban.bundle.bundle import Bundle

__all__ = ["AliasOrigin", "FolderOrigin", "LiveBundle", "Origin", "Served", "Wanted"]
LOG = logging.getLogger("luban.serve")
STOP_S = 2.0
"""How long a server that stops waits for its look; a ledger that is locked may hold that up for longer."""


class LiveBundle:
    """Holds what is served of one model. What it tells may be read by any thread at any time."""

    def __init__(
        self,
        origin: Origin,
        poll_s: float,
        load: Callable[[Path], Bundle] | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.reason = "Nothing was looked for yet."
        """Why nothing, or not the newest, is served; "" if all is well. Callers may see it: where ledger and store are
        stands in the log alone."""
        self._said = ""
        self.num_loaded = 0
        self.num_refused = 0
        self.identity: str | None = None
        """Of the first arm's bundle, also while it is not loaded; None where it is not known."""
        self._memory = memory if memory is not None else Memory()
        self.shelf = Shelf(self._memory)
        """What is loaded of it."""
        self._name = origin.name
        self._origin = origin
        self._poll_s = poll_s
        self._load = load if load is not None else _load
        self._refused: set[str] = set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """Name of the model; "" for a folder that was never loaded."""
        return self._name

    @property
    def routing(self) -> Routing | None:
        """How questions are shared out; None where nothing is loaded."""
        return self.shelf.routing

    @property
    def now(self) -> Served | None:
        """What the first arm answers with; None where nothing is loaded."""
        routing = self.shelf.routing
        return routing.arms[0].served if routing is not None else None

    @property
    def lineup(self) -> Lineup | None:
        """What answers, or would if it were loaded; None where nothing good was found yet."""
        return self.shelf.lineup

    @property
    def state(self) -> Literal["loaded", "idle", "refused"]:
        """Whether it answers, would answer once it is loaded, or cannot (see `reason`)."""
        if self.shelf.routing is not None:
            return "loaded"
        return "idle" if self.shelf.lineup is not None else "refused"

    def start(self) -> None:
        """Look once, then go on looking in a thread of its own.

        A folder that cannot be served raises its error; an alias may come to name a good bundle later. Where the
        ceiling has no room any more, a model is left idle.
        """
        self.check(lazily=bool(self._name))
        if not self._origin.moves:
            if self.shelf.lineup is None:
                raise BundleError(self.reason)
            return
        self._thread = threading.Thread(target=self._poll, name="luban-live", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def _poll(self) -> None:
        while not self._stop.wait(self._poll_s):
            try:
                self.check()
            except Exception as error:  # The thread must outlive whatever a database driver raises.
                said = f"Looking for a new version failed: {type(error).__name__}"
                self._say(f"{said}: {error}", error, f"{said}.")

    def check(self, lazily: bool = False) -> None:
        """Look once, and exchange what answers if something else is wanted.

        `lazily`: what does not fit below the ceiling is not loaded before it is asked.
        """
        try:
            lineup = self._origin.look()
            if lineup == self.shelf.lineup:
                self.reason, self._refused = "", set()
                return
            whole = lineup
            if any(wanted.key in self._refused for wanted in lineup.versions()):
                lineup = lineup.alone()
                if lineup == self.shelf.lineup or lineup.arms[0].wanted.key in self._refused:
                    return
            folders = self._fetched(lineup)
        except (LubanError, OSError) as error:
            self._say(_words(error), told=for_callers(error))
            return
        if lazily and not self._fits(folders):
            self.shelf.lineup, self.identity, self.reason = lineup, lineup.arms[0].wanted.identity, ""
        elif lineup != whole or not self._follow(lineup, folders):
            self._follow_alone(whole.alone(), folders)

    def _follow_alone(self, lineup: Lineup, folders: Mapping[str, Path]) -> None:
        """Where a version beside the first is refused, the first answers alone. Why stands, and is not tried again."""
        reason, refused = self.reason, self._refused
        if lineup.arms[0].wanted.key in refused or (lineup != self.shelf.lineup and not self._follow(lineup, folders)):
            return
        self.reason, self._refused = reason, refused

    def wake(self) -> Routing:
        """What answers, loaded again where it was given back. Blocks. Raises LubanError or OSError."""
        shelf, lineup = self.shelf, self.shelf.lineup
        folders = self._fetched(lineup) if lineup is not None else {}
        with self._memory.turn:
            if shelf.routing is None:
                told = self.reason, self._refused
                if shelf.lineup is None or not self._follow(shelf.lineup, folders):
                    raise ServeError(self.reason)
                self.reason, self._refused = told  # a newer version that was refused still is
            assert shelf.routing is not None
            shelf.touch()
            return shelf.routing

    def load_numbered(self, number: int) -> Routing:
        """One version by its number, loaded where it is not. Blocks. Raises LubanError or OSError."""
        wanted = self._origin.numbered(number)
        folder = self._origin.fetch(wanted)
        with self._memory.turn:
            arm = self.shelf.find(number)
            if arm is None:
                served = self._loaded(wanted, folder, 0)
                self._must_fit(served.cost_bytes)
                arm = self.shelf.add_spare(served)
            return Routing((arm,))

    def _fetched(self, lineup: Lineup) -> dict[str, Path]:
        """Folders of the versions that are not loaded; may take long where the store is far away."""
        held = self.shelf.held()
        return {wanted.key: self._origin.fetch(wanted) for wanted in lineup.versions() if wanted.key not in held}

    def _fits(self, folders: Mapping[str, Path]) -> bool:
        needed = sum(self._memory.expected(f"{self.name} {key}", num_bytes(at)) for key, at in folders.items())
        return self._memory.has_room(needed)

    def _follow(self, lineup: Lineup, folders: Mapping[str, Path]) -> bool:
        """Load what is not loaded yet, then exchange all at once; False, and nothing changes, where one is refused."""
        with self._memory.turn:
            wanted_keys, fresh = {wanted.key for wanted in lineup.versions()}, 0
            # Nothing else: what is held here cannot be given back to make room.
            held = {key: served for key, served in self.shelf.held().items() if key in wanted_keys}
            for wanted in lineup.versions():
                if wanted.key in held:
                    continue
                try:
                    folder = folders.get(wanted.key) or self._origin.fetch(wanted)
                    served = held[wanted.key] = self._loaded(wanted, folder, fresh)
                except BundleError as error:
                    self._refuse(wanted, error)
                    return False
                except (LubanError, OSError) as error:
                    self._say(_words(error), told=for_callers(error))
                    return False
                fresh += served.cost_bytes
            return self._exchange(lineup, held)

    def _exchange(self, lineup: Lineup, held: dict[str, Served]) -> bool:
        routing = routing_of(lineup, held)
        try:
            self._must_fit(cost_of(routing))
        except BundleError as error:
            self._refuse(lineup.versions()[-1], error)
            return False
        first = routing.arms[0].served
        self._name, self.identity = first.name, first.bundle.identity
        if lineup != self.shelf.lineup:
            fields = {"model": self._name, "arms": lineup.told(), "revision": lineup.revision}
            LOG.info("model answers", extra={"fields": fields})
        self.shelf.exchange(lineup, routing)
        self.reason, self._refused = "", set()
        return True

    def _must_fit(self, cost: int) -> None:
        limit = self._memory.limit_bytes
        if limit is not None and cost > limit:
            told = f"It takes {cost / MB:.0f} MB loaded, but `serve.memory.max_mb` is {limit / MB:g}."
            raise BundleError(told, "Allow more, or make the bundle smaller.")

    def _loaded(self, wanted: Wanted, folder: Path, fresh: int) -> Served:
        """The version, loaded and tested; `fresh` bytes were loaded beside it. Needs `Memory.turn`."""
        memory, what, size = self._memory, f"{self.name} {wanted.key}", num_bytes(folder)
        import_libraries()
        memory.make_room(fresh + memory.expected(what, size), keep=self.shelf)
        with memory.measured(what, size) as cost:
            served = try_out(wanted, lambda: self._load(folder))
        self.num_loaded += 1
        fields = {**_fields(wanted), "identity": served.bundle.identity, "mb": round(cost() / MB, 1)}
        LOG.info("model loaded", extra={"fields": fields})
        return replace(served, cost_bytes=cost())

    def _refuse(self, wanted: Wanted, error: BundleError) -> None:
        self._refused.add(wanted.key)
        self.num_refused += 1
        kept = f" Version {self.now.version} stays." if self.now is not None else ""
        what = f"Version {wanted.version} of `{wanted.name}`" if wanted.version is not None else "The bundle"
        self._say(f"{what} is refused: {_words(error)}{kept}", error.__cause__)

    def _say(self, reason: str, error: BaseException | None = None, told: str = "") -> None:
        """Keep and log why things are not well, once until it changes; `told`: what callers may see of it."""
        if reason != self._said or self.reason != (told or reason):
            self._said, self.reason = reason, told or reason
            LOG.warning("model not loaded", extra={"fields": {"reason": reason}}, exc_info=error)


def for_callers(error: Exception) -> str:
    """What callers may see of an error, on one line: not where ledger and store are, and as whom they are asked."""
    if isinstance(error, StoreError | OSError):
        return "The ledger or the store cannot be read now; the server's log says why."
    return _words(error)


def _words(error: Exception) -> str:
    """An error on one line, with its hint."""
    return " ".join(str(error).split())


def _fields(wanted: Wanted) -> dict[str, str | int | None]:
    return {"model": wanted.name, "version": wanted.version}


def load(folder: Path, num_threads: int = 1) -> Bundle:
    """The bundle of a folder, whose graph runs on so many threads. Raises BundleError."""
    return _load(folder, num_threads)


def _load(folder: Path, num_threads: int = 1) -> Bundle:
    from luban.bundle.bundle import Bundle

    return Bundle.load(folder, num_threads)
