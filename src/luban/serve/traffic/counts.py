"""What each version did under each revision of a deployment: counted where it answers, added up in the ledger.

Each server process keeps plain integers, and writes them every few seconds into a row of its own (`traffic`): totals
since it began with that revision, so that a row can be written again, and rows of all servers can be added. What a
killed process had not written, a few seconds, is lost; nothing is counted twice. Times are kept in buckets that grow by
2^(1/8), 9 %, from 50 microseconds to 200 seconds: fine enough to compare arms by their whole distribution.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, insert, select, update

from luban.store.ledger import Ledger
from luban.store.tables import traffic

PER_OCTAVE = 8
SHORTEST_S = 50e-6
NUM_BUCKETS = 22 * PER_OCTAVE
KEEP_S = 30 * 86_400.0


def bucket(seconds: float) -> int:
    """The bucket of a time: the first holds up to 50 microseconds, the last what is above all others.

    >>> bucket(0.0), bucket(100e-6), bucket(1e9) == NUM_BUCKETS - 1
    (0, 8, True)
    """
    if seconds <= SHORTEST_S:
        return 0
    return min(NUM_BUCKETS - 1, math.ceil(math.log2(seconds / SHORTEST_S) * PER_OCTAVE - 1e-9))


def upper_s(number: int) -> float:
    """The longest time of a bucket."""
    return float(SHORTEST_S * 2 ** (number / PER_OCTAVE))


@dataclass(slots=True)
class Counts:
    """What one version did. `share` is that of all arms beside the champion: the draw that it took part in."""

    share: float = 0.0
    requests: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * NUM_BUCKETS)

    def answered(self, failed: bool, seconds: float | None) -> None:
        """Count one reply; `failed`: a row got an error for an answer; without `seconds`, no time is known of it."""
        self.requests += 1
        if failed:
            self.failed += 1
        if seconds is not None:
            self.buckets[bucket(seconds)] += 1

    def lost(self) -> None:
        """Count one request without a reply: no time is known of it."""
        self.requests += 1
        self.failed += 1

    def add(self, other: Counts) -> None:
        """Add another server's."""
        self.requests += other.requests
        self.failed += other.failed
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]

    def quantile_s(self, at: float) -> float | None:
        """The time that a share `at` of the requests took at most, to the edge of its bucket; None of none."""
        left = at * sum(self.buckets)
        for number, count in enumerate(self.buckets):
            left -= count
            if count and left <= 1e-9:
                return upper_s(number)
        return None

    def to_json(self) -> dict[str, Any]:
        """As it is kept; empty buckets are left out."""
        held = {str(number): count for number, count in enumerate(self.buckets) if count}
        return {"share": self.share, "requests": self.requests, "failed": self.failed, "buckets": held}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Counts:
        """What `to_json` gave."""
        counts = cls(float(found.get("share", 0.0)), int(found.get("requests", 0)), int(found.get("failed", 0)))
        for number, count in found.get("buckets", {}).items():
            counts.buckets[int(number)] = int(count)
        return counts


@dataclass(frozen=True)
class Row:
    """What one server process wrote of one version under one revision; `time` in seconds since 1970."""

    revision: int
    server: str
    version: int
    figures: Mapping[str, Any]
    time: float


@dataclass(frozen=True)
class Place:
    """Whose row it is."""

    model: str
    deployment: str
    revision: int
    version: int


def write(ledger: Ledger, server: str, figures: Mapping[Place, Mapping[str, Any]]) -> None:
    """Put rows of this server in place of its last ones, all in one transaction. Raises StoreError."""
    with ledger.transaction() as tx:
        for place, found in figures.items():
            key = {"workspace": tx.workspace, "server": server}
            key |= {"model": place.model, "deployment": place.deployment}
            numbers = {"revision": place.revision, "version": place.version}
            where = [traffic.c[name] == value for name, value in {**key, **numbers}.items()]
            values = {"figures": json.dumps(found), "time": tx.clock()}
            if not tx.execute(update(traffic).where(*where).values(values)).rowcount:
                tx.execute(insert(traffic).values(**key, **numbers, **values))


def read(ledger: Ledger, model: str, deployment: str, revision: int) -> list[Row]:
    """What all servers wrote of this revision and later ones. Raises StoreError."""
    with ledger.reading() as tx:
        mine = (traffic.c.workspace == tx.workspace, traffic.c.model == model, traffic.c.deployment == deployment)
        found = tx.execute(select(traffic).where(*mine, traffic.c.revision >= revision)).all()
    return [Row(int(r.revision), r.server, int(r.version), json.loads(r.figures), float(r.time)) for r in found]


def forget(ledger: Ledger, model: str, deployment: str) -> None:
    """Remove rows that nobody wrote for a month."""
    with ledger.transaction() as tx:
        mine = (traffic.c.workspace == tx.workspace, traffic.c.model == model, traffic.c.deployment == deployment)
        tx.execute(delete(traffic).where(*mine, traffic.c.time < tx.clock() - KEEP_S))


def totals(rows: Iterable[Row], version: int) -> dict[float, Counts]:
    """What one version did on all servers, by the share of the draw."""
    found: dict[float, Counts] = {}
    for row in rows:
        if row.version == version and "requests" in row.figures:
            counts = Counts.from_json(row.figures)
            found.setdefault(round(counts.share, 6), Counts(counts.share)).add(counts)
    return found
