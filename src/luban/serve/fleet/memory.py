"""How much memory loaded bundles take, and which of them are given back.

Decided here: a bundle costs what the process's own memory (Linux: `RssAnon`) grew by while it was loaded and
asked for the first time, and never less than its files; where the kernel does not tell, it is GUESS times its files.
Loads take turns, so that two are not measured as one; what questions allocate meanwhile is counted in, which
errs on the safe side. When a bundle needs room, the one that was asked the longest ago goes first; one that
somebody still holds is in use and stays. Given back means: dropped, and the allocator told to hand its pages to
the system. All times are of a monotonic clock. Knows no bundle's inside, and no event loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

from pydantic import Field

from luban.catalog import Config

GUESS = 3.0
"""Memory of a bundle that was never loaded here, as a multiple of its files."""
COLLECT_S = 30.0
"""Least time between two searches for circles of objects, which stop all threads for some milliseconds."""
MB = 1_000_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_APART_BYTES, _USUAL_BYTES = 128 * 1024, 4 * 1024 * 1024


class MemoryConfig(Config):
    """How long bundles stay loaded, and how much memory they may take. Each worker process counts its own."""

    max_mb: float | None = Field(None, gt=0)
    """Most memory of all loaded bundles together; the one asked the longest ago is given back. None: no limit."""
    idle_s: float | None = Field(None, gt=0)
    """A model that nobody asked for so long is unloaded, and loaded again when it is asked. None: never."""
    spare_s: float = Field(60.0, ge=0)
    """How long a version that no longer answers stays loaded, so that going back to it takes no time."""
    wait_s: float = Field(30.0, gt=0)
    """How long a question waits at most while its model is being loaded."""


class Holding(Protocol):
    """Loaded bundles that are given back together."""

    @property
    def answers(self) -> bool:
        """Whether it answers a model's questions; else it is a spare version."""

    @property
    def cost_bytes(self) -> int:
        """Memory that it takes, estimated."""

    @property
    def used(self) -> float:
        """When it was last asked, by the monotonic clock."""

    def give_back(self) -> bool:
        """Drop it; False, and nothing has changed, where somebody holds it. Called with `Memory.turn` held."""


class Tenant(Protocol):
    """Whoever holds bundles."""

    def holdings(self) -> Sequence[Holding]:
        """What is loaded now."""


class Memory:
    """The account of one process. Threads share it; whoever holds `turn` alone loads and gives back."""

    def __init__(
        self,
        config: MemoryConfig | None = None,
        clock: Callable[[], float] = time.monotonic,
        private: Callable[[], int | None] | None = None,
    ) -> None:
        self.config = config if config is not None else MemoryConfig()
        self.clock = clock
        self.turn = threading.RLock()
        self.num_unloaded = 0
        self._tenants: list[Tenant] = []
        self._private = private if private is not None else private_bytes
        self._known: dict[str, int] = {}
        self._collected = -math.inf

    @property
    def limit_bytes(self) -> int | None:
        """The ceiling; None where there is none."""
        return None if self.config.max_mb is None else int(self.config.max_mb * MB)

    def used_bytes(self) -> int:
        """What all loaded bundles take."""
        return sum(holding.cost_bytes for tenant in self._tenants for holding in tenant.holdings())

    def join(self, tenant: Tenant) -> None:
        """Count what this one holds."""
        with self.turn:
            self._tenants = [*self._tenants, tenant]

    def has_room(self, needed: int) -> bool:
        """Whether so many bytes fit below the ceiling without anything being given back."""
        limit = self.limit_bytes
        return limit is None or self.used_bytes() + needed <= limit

    def expected(self, identity: str, num_bytes: int) -> int:
        """What a bundle with files of so many bytes should take: what it took before, or a guess."""
        return self._known.get(identity, int(num_bytes * GUESS))

    def make_room(self, needed: int, keep: Tenant | None = None) -> bool:
        """Give back until so many bytes are free, the longest unasked first; whether they are.

        What `keep` answers with now stays; its spare versions may go. Needs `turn`.
        """
        for collected in (False, True):
            for holding in sorted(self._that_may_go(keep), key=lambda one: one.used):
                if self.has_room(needed):
                    return True
                holding.give_back()
            if self.has_room(needed) or collected or not self._collect():
                break
        return self.has_room(needed)

    def sweep(self) -> None:
        """Give back what nobody has asked for long, and what is above the ceiling because it was in use before."""
        with self.turn:
            now = self.clock()
            for tenant in self._tenants:
                for holding in tenant.holdings():
                    limit_s = self.config.idle_s if holding.answers else self.config.spare_s
                    if limit_s is not None and now - holding.used >= limit_s and not holding.give_back():
                        self._collect()  # and try again at the next sweep
            self.make_room(0)

    def given_back(self, count: int) -> None:
        """Note that so many bundles were dropped, and hand their memory to the system."""
        self.num_unloaded += count
        hand_back()

    @contextlib.contextmanager
    def measured(self, identity: str, num_bytes: int) -> Iterator[Callable[[], int]]:
        """In the body a bundle is loaded; after it the function that is given tells what it took. Needs `turn`."""
        hand_back()
        before = self._private()
        cost = 0
        with _large_pieces_apart():
            yield lambda: cost
        hand_back()
        after = self._private()
        grown = int(num_bytes * GUESS) if before is None or after is None else after - before
        cost = self._known[identity] = max(grown, num_bytes)

    def _that_may_go(self, keep: Tenant | None) -> Iterator[Holding]:
        for tenant in self._tenants:
            yield from (one for one in tenant.holdings() if tenant is not keep or not one.answers)

    def _collect(self) -> bool:
        """Break circles: an error that a question raised may hold its bundle in one. Whether it was time to."""
        if self.clock() - self._collected < COLLECT_S:
            return False
        gc.collect()
        self._collected = self.clock()
        return True


def private_bytes() -> int | None:
    """Memory that is this process's own, in bytes; None where the system does not tell (only Linux does)."""
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(b"RssAnon:"):
            return int(line.split()[1]) * 1024
    return None


def hand_back() -> None:
    """Give free pages back to the system, where the C library can (glibc: malloc_trim)."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    trim = _trim()
    if trim is not None:
        trim(0)


@contextlib.contextmanager
def _large_pieces_apart() -> Iterator[None]:
    """In the body glibc takes each large piece from the system by itself, so that it goes back there when it is freed.

    Else what threads free at the end of their heaps stays with the process, however often it is trimmed (mallopt(3)).
    """
    mallopt = _mallopt()
    if mallopt is None:
        yield
        return
    mallopt(_M_MMAP_THRESHOLD, _APART_BYTES)
    try:
        yield
    finally:
        # Not the first values again: glibc would no longer adapt them, and large answers would go to the system.
        mallopt(_M_MMAP_THRESHOLD, _USUAL_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * _USUAL_BYTES)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


@cache
def _mallopt() -> Callable[[int, int], int] | None:
    # Only where there is malloc_trim, too: other C libraries have a mallopt that does nothing.
    mallopt: Callable[[int, int], int] | None = getattr(ctypes.CDLL(None), "mallopt", None) if _trim() else None
    return mallopt
