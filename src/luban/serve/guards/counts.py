"""Buckets: who has asked how much, in this process, or in all processes of this server.

One number a bucket says all: the time at which it will be full again (the generic cell rate algorithm, GCRA: ITU-T
I.371 for its leaky bucket, here for token buckets too, with a tolerance of the whole capacity). In any window of t
seconds no more than capacity + rate × t come through, whatever arrives and whatever the system's clock does:
times are those of `time.monotonic`, which on one machine all processes share.

`LocalCounts` is a dictionary, `SharedCounts` a file in memory that processes map and lock for each look. Neither knows
who asks.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import time
from pathlib import Path
from typing import Protocol

from luban.serve.guards.limits_config import LimitConfig

MAX_BUCKETS = 100_000
_SLACK_S = 1e-9
_SLOT = struct.Struct("<Qd")
_PROBES = 32


class Counts(Protocol):
    """Buckets by name. Must not block for longer than a lock of this machine takes."""

    def take(self, name: str, limit: LimitConfig, cost: float = 1.0) -> float:
        """0 where so much came through; else the seconds after which it would. Raises Problem, NotYet."""


def taken(full_at: float, now: float, limit: LimitConfig, cost: float) -> tuple[float, float]:
    """When a bucket is full again if so much is taken from it, and how long that must wait first.

    `full_at`: when it is full as it is; a time that no use of it can have led to counts as empty.

    >>> taken(0.0, 10.0, LimitConfig(rate_per_s=2, burst=4), 1)
    (10.5, 0.0)
    >>> taken(12.0, 10.0, LimitConfig(rate_per_s=2, burst=4), 1)
    (12.5, 0.5)
    """
    rate = limit.rate_per_s
    whole = limit.capacity / rate
    end = now + whole
    # Written out: `min` and `max` would cost as much again as all the rest.
    after = (now if full_at <= now else full_at if full_at < end else end) + cost / rate
    wait = after - end
    return after, wait if wait > _SLACK_S else 0.0


class LocalCounts:
    """Buckets of one event loop."""

    def __init__(self) -> None:
        self._full_at: dict[str, float] = {}

    def take(self, name: str, limit: LimitConfig, cost: float = 1.0) -> float:
        """See Counts."""
        now = time.monotonic()
        after, wait = taken(self._full_at.get(name, 0.0), now, limit, cost)
        if not wait:
            if len(self._full_at) >= MAX_BUCKETS:
                self._full_at = {name: at for name, at in self._full_at.items() if at > now}
            self._full_at[name] = after
        return wait


class SharedCounts:
    """Buckets in a file that all processes of a server map: a table of slots, each a hash of a name and its time.

    The kernel takes the lock back from a process that dies. A slot is used again once its bucket is full; where all
    slots of a name's row are taken, it shares the last: the two then have one bucket, never more than theirs.
    """

    def __init__(self, path: Path, num_slots: int = 65_536) -> None:
        self._num_slots = num_slots
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if os.fstat(self._file).st_size < num_slots * _SLOT.size:
                os.truncate(self._file, num_slots * _SLOT.size)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._map = mmap.mmap(self._file, num_slots * _SLOT.size)

    def close(self) -> None:
        """Give the file back."""
        self._map.close()
        os.close(self._file)

    def take(self, name: str, limit: LimitConfig, cost: float = 1.0) -> float:
        """See Counts."""
        mark = int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest()) or 1
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            now = time.monotonic()
            place, full_at = self._find(mark, now)
            after, wait = taken(full_at, now, limit, cost)
            if not wait:
                _SLOT.pack_into(self._map, place, mark, after)
            return wait
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _find(self, mark: int, now: float) -> tuple[int, float]:
        """The place of a bucket and when it is full; a free place where it has none."""
        free: int | None = None
        place = 0
        for step in range(_PROBES):
            place = (mark + step) % self._num_slots * _SLOT.size
            found, full_at = _SLOT.unpack_from(self._map, place)
            if found == mark:
                return place, full_at
            if free is None and (found == 0 or full_at <= now):
                free = place
            if found == 0:
                break
        return (free, 0.0) if free is not None else (place, _SLOT.unpack_from(self._map, place)[1])
