"""Loops for the kill tests: `victim.py WHAT PLACE …`, run as a process of its own. A printed line is a promise."""

from __future__ import annotations

import json
import random
import resource
import sys
from pathlib import Path

from sqlalchemy import insert

from luban.errors import StoreError
from luban.store.blobs import Store
from luban.store.ledger import Ledger
from luban.store.tables import versions


def say(text: object) -> None:
    print(text, flush=True)


def put(place: str) -> None:
    """Put blobs and publish trees of random sizes for ever, saying each name once it is promised."""
    store, chance = Store(place), random.Random()
    while True:
        say(f"blob {store.put(chance.randbytes(chance.randrange(200_000)))}")
        with store.scratch("work") as folder:
            for number in range(chance.randrange(1, 6)):
                (folder / f"sub{number % 2}").mkdir(exist_ok=True)
                (folder / f"sub{number % 2}" / f"{number}.bin").write_bytes(chance.randbytes(20_000))
            say(f"tree {store.publish(folder)}")


def unfinished(place: str) -> None:
    """Keep unfinished work of changing length and content for ever, saying each number once it is kept."""
    kept = Store(place).unfinished("key")
    for number in range(1 << 16):
        kept.write(bytes([number % 256, number // 256]) + bytes([number % 256]) * (299_998 + number))
        say(number)


def release(place: str) -> None:
    """Write a version and its audit entry in one transaction each, for ever."""
    ledger = Ledger(place)
    number = 0
    say("ready")
    while True:
        number += 1
        with ledger.transaction() as tx:
            row = {"workspace": "default", "model": "m", "version": number, "tree": "t", "identity": "i"}
            tx.execute(insert(versions).values(**row, run_id=None, actor="a", time="t", detail="{}"))
            ledger.audit(tx, "a", "release", f"m/{number}", {"number": number})
        say(number)


def hold(place: str, ttl_s: str) -> None:
    """Hold a lease until told to write under it."""
    ledger = Ledger(place)
    with ledger.lease("project", ttl_s=float(ttl_s)) as lease:
        run = ledger.begin_run("project", {}, {})
        say(run)
        sys.stdin.readline()
        for attempt in (lease.check, lambda: ledger.record("key", "late", fence=lease)):
            try:
                attempt()
                say("did it")
            except StoreError as error:
                say(type(error).__name__)


def decide(place: str, mine: str) -> None:
    """Decide 20 things in a row, each by an own value, and say what was agreed on."""
    ledger = Ledger(place)
    say("ready")
    sys.stdin.readline()
    say(json.dumps([ledger.decide("scope", str(key), lambda key=key: [mine, key]) for key in range(20)]))


def limited(place: str) -> None:
    """Put a blob larger than the limit on file sizes, then smaller ones, then fill the ledger."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    store, ledger = Store(Path(place) / "store"), Ledger(Path(place) / "ledger.db")
    try:
        store.put(bytes(300_000))
    except StoreError as error:
        say(error.message)
    say(store.put(b"small"))
    ledger.record("small", 1)
    try:
        for number in range(100):
            ledger.record(f"large {number}", "x" * 50_000)
    except StoreError as error:
        say(error.message)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
