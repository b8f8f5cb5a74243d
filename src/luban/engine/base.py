"""What an engine must do: map a function over batches, and sort keys. Where it runs is its own business.

Decided here: results come in the order of the batches and do not depend on the number of workers, so
code above may be written as if everything ran in one place. Knows neither data nor steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from luban.engine.groups import MEMORY_BYTES, Groups

B = TypeVar("B")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])

Keys = Iterable[tuple[int | np.ndarray, np.ndarray]]
"""Batches of (positions [B] int64 or the first position of consecutive ones, keys [B] or [B, K] uint64)."""


class Engine(ABC):
    """Runs work. Not for use by several threads at once."""

    @abstractmethod
    def map(self, fn: Callable[[B], R], batches: Iterable[B], num_workers: int = 1) -> Iterator[R]:
        """`fn` of each batch, in order, lazily; only a few batches are held at any time.

        With more than one worker `fn` and the batches travel to other processes (unless `fn` is
        `thread_friendly`): `fn` is a function of a module, a `partial` of one, or an instance. It must
        depend on its batch alone and not change what it closes over. Its exception is raised here.
        """

    @abstractmethod
    def sort(self, keys: Keys, spill: Path, memory_bytes: int = MEMORY_BYTES) -> Groups:
        """Groups of positions that share a key, through spill files in `spill`. See Groups."""


def thread_friendly(fn: F) -> F:
    """Mark a function that releases the interpreter lock (Arrow, numpy), so that threads suffice."""
    fn.thread_friendly = True  # type: ignore[attr-defined]
    return fn
