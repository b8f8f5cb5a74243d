"""Functions for the workers: they are found by name, so they stand in a module of their own."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from luban.engine.base import thread_friendly
from luban.engine.local import LocalEngine
from luban.errors import DataError


def double(number: int) -> int:
    return 2 * number


def where(_: int) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


@thread_friendly
def where_in_threads(_: int) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def refuse(number: int) -> int:
    if number == 3:
        raise DataError("three is refused", "Leave it out.")
    return number


def die(number: int) -> int:
    if number == 3:
        os._exit(9)
    return number


def add(number: int, more: int) -> int:
    return number + more


def note_pid(place: str) -> None:
    (Path(place) / str(os.getpid())).touch()
    threading.Event().wait()


if __name__ == "__main__":  # a parent to be killed: two workers that never finish
    list(LocalEngine().map(note_pid, [sys.argv[1]] * 2, num_workers=2))
