"""What is left to chance: which requests are written down, which rows are looked at by sample.

Requests are drawn at random, for clients may choose their ids. Rows of a job are drawn by theirs, which the server
makes: so a job that is begun again, after its process was killed, takes the same rows as before.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import TypeAlias

Draw: TypeAlias = Callable[[str, str, int], float]
"""A number from 0 to 1: for what (draws for different things are independent), request id and position of the row."""


def by_chance(what: str, request_id: str, position: int) -> float:
    """Another one each time."""
    return random.random()


def by_id(what: str, request_id: str, position: int) -> float:
    """Always the same for one row.

    >>> by_id("sample", "a", 0) == by_id("sample", "a", 0) != by_id("sample", "a", 1)
    True
    """
    drawn = hashlib.blake2b(f"{request_id}:{position}".encode(), digest_size=8, person=what.encode())
    return int.from_bytes(drawn.digest()) / 2**64
