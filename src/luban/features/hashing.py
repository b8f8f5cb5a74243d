"""A hash table from 64-bit keys to small integers, built and read as whole arrays.

Open addressing with linear probing, at most a third full. Decided here: number 0 means "not there",
so an empty slot needs no mark of its own; a round of probing handles all keys at once and goes on with
those that met another key. The table holds keys, not what they are keys of: whoever fits it makes sure
that no two entries share one.
"""

from __future__ import annotations

import numpy as np

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2**64 / golden ratio, odd: spreads keys that differ in low bits over the high ones."""


class HashTable:
    """Numbers `first`, `first + 1`, … under distinct keys [V] uint64. Immutable; threads may share it.

    >>> table = HashTable(np.array([10, 20], np.uint64), first=2)
    >>> table.find(np.array([20, 30, 10], np.uint64)).tolist()
    [3, 0, 2]
    """

    def __init__(self, keys: np.ndarray, first: int) -> None:
        bits = max(4, (3 * len(keys)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._keys = np.concatenate([np.zeros(first, np.uint64), keys])
        """By number: slots hold numbers alone, which takes a third of the memory."""
        self._numbers = np.zeros((1 << bits) + len(keys) + 1, np.int32)
        self._fill(keys, first)

    def _fill(self, keys: np.ndarray, first: int) -> None:
        pending = np.arange(first, first + len(keys), dtype=np.int32)
        at = self._home(keys)
        while len(pending):
            free = self._numbers[at] == 0
            self._numbers[at[free]] = pending[free]
            lost = self._numbers[at] != pending
            pending, at = pending[lost], at[lost] + 1

    def _home(self, keys: np.ndarray) -> np.ndarray:
        home: np.ndarray = (keys * _SPREAD >> self._shift).view(np.int64)
        return home

    def find(self, keys: np.ndarray) -> np.ndarray:
        """The numbers [N] int32 of these keys [N] uint64, 0 where a key is not there."""
        at = self._home(keys)
        numbers = self._numbers.take(at)
        open_ = (self._keys.take(numbers) != keys) & (numbers != 0)
        pending = open_.nonzero()[0]
        if not len(pending):
            return numbers
        numbers[pending] = 0
        at, keys = at[pending], keys[pending]
        while len(pending):
            at += 1
            there = self._numbers.take(at)
            same = (self._keys.take(there) == keys) & (there != 0)
            numbers[pending[same]] = there[same]
            more = ((there != 0) & ~same).nonzero()[0]
            pending, at, keys = pending[more], at[more], keys[more]
        return numbers
